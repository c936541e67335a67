// What a fault of a user's handler costs on a GPU: the queues there, which come back. A GPU that is played by the CPU
// has none of these faults.
#include <optional>
#include <tuple>

#include "own_handlers/on_backend.hpp"

namespace ipcq_test {
namespace {

struct Fault {
  const char* name;
  const char* statement;  // what the handler does to a message that begins with 'x'
  const char* error;      // of CUDA
};
void PrintTo(const Fault& fault, std::ostream* out) { *out << fault.name; }

class DeviceFaultTest : public OnBackend, public testing::WithParamInterface<std::tuple<Fault, ExecutorKind, bool>> {
 public:
  static std::string name_of(const testing::TestParamInfo<ParamType>& info) {
    return std::string(std::get<0>(info.param).name) + "_" + std::string(to_string(std::get<1>(info.param))) +
           (std::get<2>(info.param) ? "_linked" : "_inlined");
  }

 protected:
  // From here on, since the runner inherits what standard error is.
  DeviceFaultTest() { testing::internal::CaptureStderr(); }
  ~DeviceFaultTest() override {
    if (!said_) (void)testing::internal::GetCapturedStderr();
  }
  const std::string& said() {
    if (!said_) said_ = testing::internal::GetCapturedStderr();
    return *said_;
  }
  static const Fault& fault() { return std::get<0>(GetParam()); }
  static QueueOptions options(const std::string& file) {
    QueueOptions o = OnBackend::options(file);
    o.executor = std::get<1>(GetParam());
    o.quick_start = std::get<2>(GetParam());
    return o;
  }
  std::string faulty() const {
    return full("faulty.cu", "    if (m.data[0] == std::byte{'x'}) {\n      " + std::string(fault().statement) +
                                 "\n    }\n    if (team.rank() == 0) m.data[0] = std::byte{'!'};");
  }
  void expect_works(const std::string& queue, const std::string& sent, const std::string& expected) {
    auto c = session().consumer(queue, {.wait_for = kBound});
    auto p = session().producer(queue, {.wait_for = kBound});
    const auto m = exchange(p, c, sent);
    ASSERT_TRUE(m) << queue;
    EXPECT_EQ(text_of(*m), expected) << queue;
  }

 private:
  std::optional<std::string> said_;
};

INSTANTIATE_TEST_SUITE_P(
    Faults, DeviceFaultTest,
    testing::Combine(testing::Values(Fault{"Trap", "__trap();", "launch"},
                                     Fault{"IllegalAddress", "*reinterpret_cast<volatile int*>(64) = 1;", "illegal"},
                                     Fault{"IndexBeyondTheMessage", "m.elements<int>()[m.length] = 1;", "launch"}),
                     testing::Values(ExecutorKind::persistent, ExecutorKind::stream), testing::Bool()),
    DeviceFaultTest::name_of);

TEST_P(DeviceFaultTest, CostsTheQueuesOfItsGpuAndNothingElse) {
  QueueOptions o = options(faulty());
  o.defines = {"IPCQ_CHECK_BOUNDS"};
  broker().create("q", o);
  broker().create("other", {.slots = 16, .handler = "upper", .backend = "cuda"});
  broker().create("host", {.slots = 16, .handler = next_byte(), .backend = "host"});
  const auto before = host_runners();
  auto host_c = session().consumer("host");
  auto host_p = session().producer("host");
  expect_works("q", "abc", "!bc");
  expect_works("other", "abc", "ABC");
  {
    auto p = session().producer("q");
    ASSERT_EQ(p.send("xxx", 3, kBound), Status::ok);
    EXPECT_TRUE(eventually([&] { return broker().stats().runner_deaths == 1; }));
  }
  expect_works("q", "abc", "!bc");
  expect_works("other", "abc", "ABC");
  EXPECT_THAT(said(), AllOf(HasSubstr("ipcq-runner: queue '"), HasSubstr(fault().error)));
  EXPECT_THAT(log(), HasSubstr("faulty.cu', may be what failed"));
  EXPECT_EQ(text_of(*exchange(host_p, host_c, "abc")), "bcd");
  EXPECT_EQ(host_runners(), before);
  EXPECT_EQ(broker().stats().runner_deaths, 1u);
}

}  // namespace
}  // namespace ipcq_test
