// Images of handlers, which the soft GPU's compiler (compiler.sh.in) has made.
#include <dlfcn.h>
#include <elf.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <string>

#include "kernels.hpp"

namespace soft_gpu {

bool Image::is_one(const void* image) { return std::memcmp(image, ELFMAG, SELFMAG) == 0; }

Image* Image::load(const void* image) {
  if (!is_one(image)) return nullptr;
  Elf64_Ehdr head;
  std::memcpy(&head, image, sizeof head);
  if (head.e_machine != EM_X86_64) return nullptr;  // a real one
  const std::size_t size =
      head.e_shoff + std::size_t{head.e_shnum} * head.e_shentsize;  // the table of sections ends it
  const int file = ::memfd_create("soft-gpu-image", MFD_CLOEXEC);
  if (::write(file, image, size) != static_cast<ssize_t>(size)) return nullptr;
  // The descriptor stays open: the linker tells libraries apart by their names, and keeps some for good.
  void* const library = ::dlopen(("/proc/self/fd/" + std::to_string(file)).c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) std::fprintf(stderr, "soft GPU: %s\n", ::dlerror());
  return library != nullptr ? new Image(library) : nullptr;
}

Image::~Image() { ::dlclose(library_); }

const Kernel* Image::find_kernel(const std::string& name) const {
  using Find = const Kernel*(const char*);
  auto* const find = reinterpret_cast<Find*>(::dlsym(library_, "soft_gpu_find_kernel"));
  return find != nullptr ? find(name.c_str()) : nullptr;
}

void* Image::find_global(const char* name, std::size_t& bytes) const {
  void* const found = ::dlsym(library_, name);
  Dl_info unused{};
  void* symbol = nullptr;
  if (found != nullptr && ::dladdr1(found, &unused, &symbol, RTLD_DL_SYMENT) != 0) {
    bytes = static_cast<const Elf64_Sym*>(symbol)->st_size;
  }
  return found;
}

}  // namespace soft_gpu
