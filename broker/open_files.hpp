// Raises the limit of open files: the 1024 that a shell usually gives are few for a broker of many clients.
#pragma once

namespace ipcq::program {

// Raises the soft limit of this process to the hard one, if the system allows it. Each session takes two descriptors.
void raise_open_files_limit() noexcept;

}  // namespace ipcq::program
