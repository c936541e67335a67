#include "probe.hpp"

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "gpu.hpp"
#include "layout/limits.hpp"

namespace ipcq::runner {

using namespace detail;

namespace {

constexpr std::size_t kBytes = 2u << 20;
constexpr std::uint8_t kPattern = 0x5a;

// "ok", or the text of the exception that `check` throws.
std::string outcome(const std::function<void()>& check) {
  try {
    check();
    return "ok";
  } catch (const std::exception& e) {
    return e.what();
  }
}

std::string hex(const std::uint8_t* bytes, std::size_t count) {
  std::string text;
  char two[3];
  for (std::size_t i = 0; i < count; ++i) {
    std::snprintf(two, sizeof two, "%02x", bytes[i]);
    text += two;
  }
  return text;
}

// Checks that another process can map memory of the GPU, and that this one then reads what it writes there.
void check_memory_handle(const Gpu& gpu, int device) {
  const DeviceAllocation block(gpu, kBytes, "the check");
  const DeviceMemory exported = block.exported();
  char self[4096] = {};
  if (::readlink("/proc/self/exe", self, sizeof self - 1) <= 0) throw BackendError("cannot find this program");
  const std::string command = std::string("'") + self + "' --probe-peer " + std::to_string(device) + " " +
                              hex(exported.ipc_handle, sizeof exported.ipc_handle);
  std::FILE* const peer = ::popen(command.c_str(), "r");
  if (peer == nullptr) throw BackendError("cannot start a second process");
  char text[512] = {};
  const std::size_t n = std::fread(text, 1, sizeof text - 1, peer);
  const int status = ::pclose(peer);
  if (status != 0) throw BackendError(n != 0 ? std::string(text, n) : "the second process failed");
  const CurrentContext current(gpu.context());
  std::vector<std::uint8_t> seen(kBytes);
  check_cuda(driver().cuMemcpyDtoHAsync(seen.data(), block.address(), kBytes, nullptr), "cuMemcpyDtoH", gpu.object());
  check_cuda(driver().cuStreamSynchronize(nullptr), "cuStreamSynchronize", gpu.object());
  for (const auto byte : seen) {
    if (byte != kPattern) throw BackendError("the second process wrote, but this one does not see it");
  }
}

// Checks that shared memory can be pinned and, with `operate`, that stream operations work on it.
void check_host_memory(const Gpu& gpu, bool operate) {
  void* const page = ::mmap(nullptr, kPageBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) throw BackendError("mmap failed");
  std::memset(page, 0, kPageBytes);
  {
    const RegisteredMemory pinned(gpu.context(), page, kPageBytes, "a shared page");
    const CurrentContext current(gpu.context());
    const auto at = reinterpret_cast<CUdeviceptr>(gpu.address(page));
    if (operate) {
      CUstream stream = nullptr;
      check_cuda(driver().cuStreamCreateWithPriority(&stream, CU_STREAM_NON_BLOCKING, 0), "cuStreamCreate",
                 gpu.object());
      check_cuda(driver().cuStreamWriteValue64(stream, at, 7, 0), "cuStreamWriteValue64", gpu.object());
      check_cuda(driver().cuStreamWaitValue64(stream, at, 7, CU_STREAM_WAIT_VALUE_GEQ), "cuStreamWaitValue64",
                 gpu.object());
      check_cuda(driver().cuStreamSynchronize(stream), "cuStreamSynchronize", gpu.object());
      driver().cuStreamDestroy(stream);
    }
  }
  ::munmap(page, kPageBytes);
}

nlohmann::json describe_device(int device) {
  const auto& cu = driver();
  CUdevice handle = 0;
  check_cuda(cu.cuDeviceGet(&handle, device), "cuDeviceGet", "GPU " + std::to_string(device));
  const auto attribute = [&](CUdevice_attribute which) {
    int value = 0;
    cu.cuDeviceGetAttribute(&value, which, handle);
    return value;
  };
  char name[128] = {};
  cu.cuDeviceGetName(name, sizeof name, handle);
  CUuuid uuid{};
  cu.cuDeviceGetUuid(&uuid, handle);
  std::size_t bytes = 0;
  cu.cuDeviceTotalMem(&bytes, handle);
  const int mode = attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_MODE);
  std::unique_ptr<Gpu> gpu;
  const std::string context = outcome([&] { gpu = std::make_unique<Gpu>(device); });
  const auto check = [&](const std::function<void()>& what) { return gpu ? outcome(what) : context; };
  return {{"index", device},
          {"name", name},
          {"uuid", hex(reinterpret_cast<const std::uint8_t*>(uuid.bytes), sizeof uuid.bytes)},
          {"compute_capability", std::to_string(attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)) + "." +
                                     std::to_string(attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR))},
          {"memory_bytes", bytes},
          {"compute_mode", mode == CU_COMPUTEMODE_DEFAULT      ? "default"
                           : mode == CU_COMPUTEMODE_PROHIBITED ? "prohibited"
                                                               : "exclusive"},
          {"supported", gpu != nullptr},
          {"memory_handle", check([&] { check_memory_handle(*gpu, device); })},
          {"host_registration", check([&] { check_host_memory(*gpu, false); })},
          {"stream_wait_write", check([&] { check_host_memory(*gpu, true); })}};
}

std::string driver_text() {
  std::FILE* const file = std::fopen("/proc/driver/nvidia/version", "re");
  if (file == nullptr) return "";
  char line[256] = {};
  const bool read = std::fgets(line, sizeof line, file) != nullptr;
  std::fclose(file);
  // "NVRM version: NVIDIA UNIX ... Module  580.159  Wed ...": the first word of digits and dots.
  for (const char* at = read ? line : ""; *at != '\0'; ++at) {
    const std::size_t n = std::strspn(at, "0123456789.");
    if (n >= 5 && std::memchr(at, '.', n) != nullptr) return std::string(at, n);
    if (n != 0) at += n - 1;
  }
  return "";
}

}  // namespace

int probe() {
  rlimit lock{};
  ::getrlimit(RLIMIT_MEMLOCK, &lock);
  nlohmann::json found = {
      {"toolkit", std::to_string(CUDA_VERSION / 1000) + "." + std::to_string(CUDA_VERSION % 1000 / 10)},
      {"driver", driver_text()},
      {"mps", runs_under_mps()},
      {"memlock", lock.rlim_cur == RLIM_INFINITY ? -1 : static_cast<std::int64_t>(lock.rlim_cur)},
      {"devices", nlohmann::json::array()},
      {"peers", nlohmann::json::array()}};
  try {
    const auto& cu = driver();
    found["driver_version"] = cu.version;
    int count = 0;
    check_cuda(cu.cuDeviceGetCount(&count), "cuDeviceGetCount", "GPU");
    for (int d = 0; d < count; ++d) found["devices"].push_back(describe_device(d));
    for (int from = 0; from < count; ++from) {
      for (int to = 0; to < count; ++to) {
        if (from == to) continue;
        int can = 0;
        const CUresult result = cu.cuDeviceCanAccessPeer(&can, from, to);
        const std::string access = result != CUDA_SUCCESS ? describe(cu, result, "cuDeviceCanAccessPeer", "GPU")
                                   : can != 0             ? "ok"
                                                          : "no path between the two";
        found["peers"].push_back({{"from", from}, {"to", to}, {"access", access}});
      }
    }
  } catch (const std::exception& e) {
    found["error"] = e.what();
  }
  std::puts(found.dump().c_str());
  return 0;
}

int probe_peer(const char* device, const char* handle) {
  try {
    const Gpu gpu(std::atoi(device));
    CUipcMemHandle mem{};
    if (std::strlen(handle) != 2 * sizeof mem) throw UsageError("handle: wrong length");
    for (std::size_t i = 0; i < sizeof mem; ++i) {
      const char two[3] = {handle[2 * i], handle[2 * i + 1], '\0'};
      reinterpret_cast<std::uint8_t*>(&mem)[i] = static_cast<std::uint8_t>(std::strtoul(two, nullptr, 16));
    }
    const CurrentContext current(gpu.context());
    const auto& cu = driver();
    CUdeviceptr at = 0;
    check_cuda(cu.cuIpcOpenMemHandle(&at, mem, CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS), "cuIpcOpenMemHandle", gpu.object(),
               "both processes need one IPC and PID namespace (containers: --ipc=host --pid=host)");
    check_cuda(cu.cuMemsetD8Async(at, kPattern, kBytes, nullptr), "cuMemsetD8", gpu.object());
    check_cuda(cu.cuStreamSynchronize(nullptr), "cuStreamSynchronize", gpu.object());
    check_cuda(cu.cuIpcCloseMemHandle(at), "cuIpcCloseMemHandle", gpu.object());
    return 0;
  } catch (const std::exception& e) {
    std::fputs(e.what(), stdout);
    return 1;
  }
}

}  // namespace ipcq::runner
