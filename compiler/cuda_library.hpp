// A library of CUDA's that is looked up at run time: nothing links it, so that a program starts without it and can say
// what is missing.
#pragma once

#include <string>
#include <vector>

namespace ipcq::compiler {

class CudaLibrary {
 public:
  struct Names {
    const char* title;                // "NVRTC"
    const char* purpose;              // "compiles handlers"
    const char* variable;             // of the environment: its path
    std::vector<const char*> files;   // newest first: a newer one knows newer GPUs
    std::vector<const char*> wheels;  // folders of NVIDIA's wheels that have it
    const char* package;              // on PyPI
  };
  // Finds it: the variable, NVIDIA's wheels beside ipcq's, the linker's places, a toolkit in $CUDA_HOME, $CUDA_PATH or
  // /usr/local/cuda, NVIDIA's wheels in the active virtual environment. Throws program::Failure, which says where it
  // looked.
  explicit CudaLibrary(Names names);
  CudaLibrary(const CudaLibrary&) = delete;
  CudaLibrary& operator=(const CudaLibrary&) = delete;

  const std::string& path() const noexcept { return path_; }

  // A function of the library. Throws program::Failure where there is none of that name.
  template <class Function>
  Function* look_up(const char* name) const {
    return reinterpret_cast<Function*>(find(name));
  }

 private:
  void* find(const char* name) const;
  std::vector<std::string> places() const;

  const Names names_;
  void* library_ = nullptr;  // stays open: the process ends soon
  std::string path_;
};

}  // namespace ipcq::compiler
