// The limit of open files: what a shell gives (1024, often) is little for a broker of many clients.
#pragma once

namespace ipcq::program {

// Raises the soft limit of this process to the hard one, where that can be. Each session of a client takes two
// descriptors.
void raise_open_files_limit() noexcept;

}  // namespace ipcq::program
