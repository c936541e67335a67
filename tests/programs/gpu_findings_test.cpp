// What is said about the GPUs of a machine, from the answer of a probe.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "program/gpu_findings.hpp"

namespace ipcq::program {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// A machine with one GPU on which all works, but for what `change` replaces.
std::vector<Finding> findings_with(const std::string& from = "", const std::string& to = "") {
  std::string probe = R"({"driver_version":13000,"driver":"580.159","toolkit":"13.0","mps":true,"memlock":-1,
    "devices":[{"index":0,"name":"NVIDIA H200","uuid":"aa","compute_capability":"9.0","memory_bytes":150000000000,
      "compute_mode":"default","supported":true,"memory_handle":"ok","host_registration":"ok",
      "stream_wait_write":"ok"}],"peers":[]})";
  if (!from.empty()) probe.replace(probe.find(from), from.size(), to);
  return gpu_findings(probe);
}

// The findings that are not ok, as "LEVEL subject: text -> remedy".
std::vector<std::string> complaints(const std::vector<Finding>& findings) {
  std::vector<std::string> lines;
  for (const auto& f : findings) {
    if (f.level == Finding::Level::ok) continue;
    lines.push_back((f.level == Finding::Level::fail ? "FAIL " : "WARN ") + f.subject + ": " + f.text + " -> " +
                    f.remedy);
  }
  return lines;
}

TEST(GpuFindings, NothingIsToBeDoneWhereAllWorks) {
  // MPS has a hazard of its own, which nothing on the machine takes away.
  EXPECT_THAT(complaints(findings_with()), ElementsAre(AllOf(HasSubstr("WARN MPS: runs"), HasSubstr("SIGTERM"))));
  EXPECT_EQ(findings_with().size(), 4U);  // driver, GPU, MPS, pinned memory
}

TEST(GpuFindings, EachFaultHasItsRemedy) {
  const auto only = [](const char* from, const char* to) {
    auto lines = complaints(findings_with(from, to));
    std::erase_if(lines, [](const std::string& line) { return line.find("WARN MPS: runs") == 0; });
    return lines.size() == 1 ? lines[0] : std::to_string(lines.size()) + " complaints";
  };
  EXPECT_THAT(only("\"mps\":true", "\"mps\":false"),
              AllOf(HasSubstr("WARN MPS"), HasSubstr("2.4 ms"), HasSubstr("-> nvidia-cuda-mps-control -d")));
  EXPECT_THAT(only("\"memlock\":-1", "\"memlock\":8388608"),
              AllOf(HasSubstr("WARN pinned memory: limit 8.0 MiB"), HasSubstr("ulimit -l")));
  EXPECT_THAT(only("\"compute_mode\":\"default\"", "\"compute_mode\":\"prohibited\""),
              AllOf(HasSubstr("FAIL GPU 0"), HasSubstr("nvidia-smi -i 0 -c DEFAULT")));
  EXPECT_THAT(only("\"memory_handle\":\"ok\"", "\"memory_handle\":\"CUDA_ERROR_INVALID_VALUE\""),
              AllOf(HasSubstr("WARN GPU 0"), HasSubstr("INVALID_VALUE"), HasSubstr("--ipc=host")));
  EXPECT_THAT(only("\"host_registration\":\"ok\"", "\"host_registration\":\"no\""),
              AllOf(HasSubstr("FAIL GPU 0"), HasSubstr("memlock")));
  EXPECT_THAT(only("\"stream_wait_write\":\"ok\"", "\"stream_wait_write\":\"no\""), HasSubstr("update the NVIDIA"));
  EXPECT_THAT(only("\"supported\":true", "\"supported\":false"), HasSubstr("not usable"));
  EXPECT_THAT(only("\"driver_version\":13000", "\"driver_version\":12080"),
              AllOf(HasSubstr("WARN GPU driver"), HasSubstr("CUDA 12.8"), HasSubstr("update")));
  EXPECT_THAT(only("\"peers\":[]", "\"peers\":[{\"from\":1,\"to\":0,\"access\":\"no path\"}]"),
              AllOf(HasSubstr("WARN GPU 1 to 0: no path"), HasSubstr("mirror=full")));
}

TEST(GpuFindings, TheFirstGpusArchitectureIsThatOfItsComputeCapability) {
  EXPECT_EQ(first_architecture(R"({"devices":[{"compute_capability":"9.0"},{"compute_capability":"8.6"}]})"), "sm_90");
  EXPECT_EQ(first_architecture(R"({"devices":[{"compute_capability":"12.0"}]})"), "sm_120");
  for (const char* none : {"", "{", "[]", "{}", R"({"devices":[]})", R"({"devices":[{}]})", R"({"devices":[7]})",
                           R"({"devices":[{"compute_capability":9.0}]})"}) {
    EXPECT_EQ(first_architecture(none), "") << none;
  }
}

TEST(GpuFindings, ExclusiveModeWorksUnderMpsOnly) {
  EXPECT_THAT(complaints(findings_with("\"default\"", "\"exclusive\"")), ElementsAre(HasSubstr("WARN MPS: runs")));
  std::string both =
      R"({"driver_version":13000,"mps":false,"memlock":-1,"devices":[{"index":2,"compute_mode":"exclusive"}]})";
  EXPECT_THAT(complaints(gpu_findings(both)), testing::Contains(HasSubstr("FAIL GPU 2")));
}

TEST(GpuFindings, WithoutGpuThereIsTheHostBackend) {
  EXPECT_THAT(complaints(gpu_findings(R"({"devices":[],"peers":[],"error":"no CUDA driver on this machine"})")),
              ElementsAre(AllOf(HasSubstr("WARN GPU: host backend only: no CUDA driver"), HasSubstr("nvidia-smi"))));
  EXPECT_THAT(complaints(gpu_findings("{}")), ElementsAre(HasSubstr("no GPU is visible")));
  for (const char* nonsense : {"", "segfault", "[1]", "{\"devices\":3}", "{\"devices\":[{\"index\":\"x\"}]}"}) {
    EXPECT_THAT(complaints(gpu_findings(nonsense)), ElementsAre(HasSubstr("makes sense"))) << nonsense;
  }
}

}  // namespace
}  // namespace ipcq::program
