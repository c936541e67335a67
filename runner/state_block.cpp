#include "state_block.hpp"

#include "base/memory_file.hpp"

namespace ipcq::runner {

using namespace detail;

StateBlock::StateBlock(const Gpu& gpu, std::uint64_t bytes, const Fd& content)
    : gpu_(gpu), memory_(gpu, bytes, "the state of a queue"), stream_(gpu, "the state of a queue") {
  if (!is_all_zero(content.get())) {
    load(content, "the state of a queue");
    return;
  }
  const CurrentContext current(gpu.context());
  check_cuda(driver().cuMemsetD8Async(memory_.address(), 0, bytes, stream_.get()), "cuMemsetD8Async", gpu.object());
  check_cuda(driver().cuStreamSynchronize(stream_.get()), "cuStreamSynchronize", gpu.object());
}

void StateBlock::save(const Fd& file, const std::string& object) const {
  const MappedFile to(file.get(), memory_.bytes(), MappedFile::For::writing, object);
  const CurrentContext current(gpu_.context());
  check_cuda(driver().cuMemcpyDtoHAsync(to.data(), memory_.address(), memory_.bytes(), stream_.get()),
             "cuMemcpyDtoHAsync", object);
  check_cuda(driver().cuStreamSynchronize(stream_.get()), "cuStreamSynchronize", object);
}

void StateBlock::load(const Fd& file, const std::string& object) {
  const MappedFile from(file.get(), memory_.bytes(), MappedFile::For::reading, object);
  const CurrentContext current(gpu_.context());
  check_cuda(driver().cuMemcpyHtoDAsync(memory_.address(), from.data(), memory_.bytes(), stream_.get()),
             "cuMemcpyHtoDAsync", object);
  check_cuda(driver().cuStreamSynchronize(stream_.get()), "cuStreamSynchronize", object);
}

}  // namespace ipcq::runner
