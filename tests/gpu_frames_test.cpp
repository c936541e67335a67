// What the programs make and check on a GPU, against the same work on the CPU. Skips where there is no GPU.
#include <gtest/gtest.h>

#include <algorithm>
#include <driver.hpp>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "program/pattern.hpp"
#include "program_gpu/frame_checker.hpp"
#include "program_gpu/frame_generator.hpp"

namespace ipcq::program {
namespace {

using detail::check_cuda;
using detail::driver;

constexpr std::size_t kRoom = Pattern4k::kFrameBytes + 4096;

class GpuFrames : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    try {
      device_ = std::make_unique<GpuDevice>(0);
    } catch (const BackendError& error) {
      GTEST_SKIP() << error.what();
    }
    CUdeviceptr data = 0;
    check_cuda(driver().cuMemAlloc(&data, kRoom), "cuMemAlloc", "frame");
    data_ = reinterpret_cast<std::byte*>(data);
  }
  void TearDown() override {
    if (data_ != nullptr) driver().cuMemFree(reinterpret_cast<CUdeviceptr>(data_));
  }

  void upload(const std::vector<std::byte>& bytes, std::size_t to = 0) {
    check_cuda(driver().cuMemcpyHtoDAsync(reinterpret_cast<CUdeviceptr>(data_ + to), bytes.data(), bytes.size(),
                                          device_->stream()),
               "cuMemcpyHtoDAsync", "frame");
    device_->finish();
  }
  std::vector<std::byte> download(std::size_t size) {
    std::vector<std::byte> bytes(size);
    check_cuda(driver().cuMemcpyDtoHAsync(bytes.data(), reinterpret_cast<CUdeviceptr>(data_), size, device_->stream()),
               "cuMemcpyDtoHAsync", "frame");
    device_->finish();
    return bytes;
  }
  // Bad bytes of what lies `at` bytes into the memory.
  std::uint64_t bad_bytes(std::uint64_t frame, std::size_t length = Pattern4k::kFrameBytes, std::size_t at = 0) {
    return sums_of(frame, length, at).bad_bytes;
  }
  FrameCheckResult sums_of(std::uint64_t frame, std::size_t length, std::size_t at) {
    const FrameChecker checker(*device_, GetParam());
    checker.check(data_ + at, length, frame, message_);
    checker.copy_sums();
    device_->finish();
    return checker.seen();
  }
  // Microseconds per repetition of what `work` enqueues.
  template <class Work>
  double time_us(const Work& work) {
    constexpr int kTimes = 200;
    CUevent begin = nullptr, end = nullptr;
    check_cuda(driver().cuEventCreate(&begin, CU_EVENT_DEFAULT), "cuEventCreate", "timer");
    check_cuda(driver().cuEventCreate(&end, CU_EVENT_DEFAULT), "cuEventCreate", "timer");
    work();
    check_cuda(driver().cuEventRecord(begin, device_->stream()), "cuEventRecord", "timer");
    for (int i = 0; i < kTimes; ++i) work();
    check_cuda(driver().cuEventRecord(end, device_->stream()), "cuEventRecord", "timer");
    device_->finish();
    float ms = 0;
    check_cuda(driver().cuEventElapsedTime(&ms, begin, end), "cuEventElapsedTime", "timer");
    driver().cuEventDestroy(begin);
    driver().cuEventDestroy(end);
    return ms * 1e3 / kTimes;
  }

  std::unique_ptr<GpuDevice> device_;
  std::byte* data_ = nullptr;
  cuda::Payload message_;
};

std::vector<std::byte> picture(std::uint64_t frame, const std::string& handler = {}) {
  std::vector<std::byte> bytes(Pattern4k::kFrameBytes);
  Pattern4k().generate(frame, bytes);
  if (!handler.empty()) {
    EXPECT_TRUE(find_host_handler(handler)(bytes.data(), bytes.size()));
  }
  return bytes;
}

TEST_P(GpuFrames, AcceptsTheRightFrameAndNoOther) {
  upload(picture(300, GetParam()));
  EXPECT_EQ(bad_bytes(300), 0U);
  EXPECT_GT(bad_bytes(301), Pattern4k::kFrameBytes / 2);
}

TEST_P(GpuFrames, CountsEachWrongByte) {
  auto bytes = picture(5, GetParam());
  for (const std::size_t at : {std::size_t{0}, std::size_t{767}, std::size_t{768}, Pattern4k::kRowBytes,
                               std::size_t{12345678}, Pattern4k::kFrameBytes - 1}) {
    bytes[at] ^= std::byte{1};
  }
  upload(bytes);
  EXPECT_EQ(bad_bytes(5), 6U);
}

TEST_P(GpuFrames, CountsBytesTooFewAndTooMany) {
  upload(picture(5, GetParam()));
  EXPECT_EQ(bad_bytes(5, 1003), Pattern4k::kFrameBytes - 1003);
  EXPECT_EQ(bad_bytes(5, 0), Pattern4k::kFrameBytes);
  EXPECT_EQ(bad_bytes(5, Pattern4k::kFrameBytes + 3), 3U);
}

TEST_P(GpuFrames, ReadsWhereNothingIsAligned) {
  upload(picture(5, GetParam()), 3);
  EXPECT_EQ(bad_bytes(5, Pattern4k::kFrameBytes, 3), 0U);
}

TEST_P(GpuFrames, PayloadThatNeverCameIsLostNotBad) {
  upload(picture(6, GetParam()));
  message_.state = static_cast<std::uint32_t>(Status::peer_dead);
  const auto sums = sums_of(5, Pattern4k::kFrameBytes - 1, 0);
  EXPECT_EQ(sums.bad_bytes, 0U);
  EXPECT_EQ(sums.lost, 1U);
}

// vector_add is left out: of NaNs a GPU keeps other bits than a CPU does, and the picture is full of them.
INSTANTIATE_TEST_SUITE_P(Handlers, GpuFrames, testing::Values("", "identity", "invert", "upper"),
                         [](const auto& handler) {
                           return std::string(*handler.param != '\0' ? handler.param : "none");
                         });

class GpuGenerator : public GpuFrames {};
INSTANTIATE_TEST_SUITE_P(Any, GpuGenerator, testing::Values(""));

TEST_P(GpuGenerator, MakesThePictureOfTheCpu) {
  const FrameGenerator generator(*device_);
  for (const std::uint64_t frame : {std::uint64_t{0}, std::uint64_t{7}, std::uint64_t{255}, std::uint64_t{1000003}}) {
    generator.picture(frame, data_);
    EXPECT_TRUE(download(Pattern4k::kFrameBytes) == picture(frame)) << "frame " << frame;
  }
}

TEST_P(GpuGenerator, MakesZerosAndNoiseOfAnyLength) {
  const FrameGenerator generator(*device_);
  for (const std::size_t length : {std::size_t{1}, std::size_t{100}, std::size_t{4096}, std::size_t{1000003}}) {
    generator.zeros(data_, kRoom);
    generator.noise(7, data_, length);
    const auto noise = download(length + 16);
    EXPECT_TRUE(std::all_of(noise.end() - 16, noise.end(), [](std::byte b) { return b == std::byte{}; })) << length;
    if (length < 4096) continue;
    std::vector<std::size_t> seen(256);
    for (const std::byte b : noise) ++seen[static_cast<unsigned char>(b)];
    EXPECT_GT(*std::min_element(seen.begin(), seen.end()), 0U) << length;
    generator.noise(8, data_, length);
    EXPECT_FALSE(download(length + 16) == noise) << length;
  }
}

// Says how fast; how fast it should be depends on the GPU.
TEST_P(GpuGenerator, SaysItsTimes) {
  const FrameGenerator generator(*device_);
  const FrameChecker checker(*device_, "");
  const auto say = [](const char* what, double us) {
    std::cout << what << ": " << us << " us, " << Pattern4k::kFrameBytes / us / 1e3 << " GB/s\n";
  };
  say("picture", time_us([&] { generator.picture(1, data_); }));
  say("noise", time_us([&] { generator.noise(1, data_, Pattern4k::kFrameBytes); }));
  generator.picture(1, data_);
  say("check", time_us([&] { checker.check(data_, Pattern4k::kFrameBytes, 1, message_); }));
  checker.copy_sums();
  device_->finish();
  EXPECT_EQ(checker.seen().bad_bytes, 0U);
}

}  // namespace
}  // namespace ipcq::program
