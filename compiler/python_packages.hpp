// Where packages of Python lie: compilers come as such, too.
#pragma once

#include <filesystem>
#include <vector>

namespace ipcq::compiler {

// The folder with packages that this program's own is in; empty: it is in none. ipcq's wheel has it in
// FOLDER/ipcq/_native/bin.
std::filesystem::path packages_beside_this_program();

// Those of the virtual environment that is active ($VIRTUAL_ENV), for each version of Python in it.
std::vector<std::filesystem::path> packages_of_active_environment();

}  // namespace ipcq::compiler
