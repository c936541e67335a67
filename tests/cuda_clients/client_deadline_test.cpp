// A handler's deadline is for its calls alone: what waits for another message's payload is not over it.
#include <fstream>

#include "cuda_clients/client_fixture.hpp"
#include "unit/temporary_directory.hpp"

namespace ipcq_test {
namespace {

constexpr Duration kDeadline = 200ms;
constexpr std::uint64_t kBehind = 3;

class CudaClientDeadline : public CudaClient {
 protected:
  // A handler that inverts all bytes. False where this machine cannot run it; the test is skipped.
  bool create(bool serial, ExecutorKind executor) {
    const std::string file = folder_.at("inverts.cu");
    std::ofstream(file) << "#include <ipcq/handler.hpp>\nstruct Inverts {\n  template <class Team>\n"
                           "  IPCQ_HOST_DEVICE void operator()(ipcq::HandlerMessage& m, Team team"
                        << (serial ? ", ipcq::State" : "")
                        << ") const {\n    for (std::uint64_t i = team.rank(); i < m.length; i += team.size()) {\n"
                           "      m.data[i] = ~m.data[i];\n    }\n  }\n};\nIPCQ_HANDLER(Inverts)\n";
    QueueOptions o;
    o.slots = 8;
    o.size = kBytes;
    o.handler = file;
    o.state_bytes = serial ? 64 : 0;
    o.handler_deadline = kDeadline;
    o.backend = "cuda";
    o.executor = executor;
    o.mirror = Mirror::full;
    return start(o);
  }

  // One payload is late for several deadlines, with complete ones behind it.
  void expect_patience() {
    auto late = producer();
    auto p = producer(false);
    auto c = consumer(false, "default", Until::forever);
    CUstream out = gpu_->stream();
    std::uint32_t* const held_up = hold_up(out);
    ASSERT_EQ(publish(late, out, 1), Status::ok);
    for (std::uint64_t n = 0; n < kBehind; ++n) ASSERT_EQ(p.send("abc", 3, kBound), Status::ok);
    std::this_thread::sleep_for(4 * kDeadline);
    EXPECT_EQ(broker_->stats().runner_deaths, 0u);
    open(held_up);
    const auto first = c.receive(kBound);
    ASSERT_TRUE(first) << to_string(first.status()) << "\n" << broker_->dump("q").substr(0, 2000);
    EXPECT_EQ(wrong_bytes(*first, kBytes, 1, GetParam().mask), 0u);
    for (std::uint64_t n = 0; n < kBehind; ++n) {
      const auto m = c.receive(kBound);
      ASSERT_TRUE(m) << "message " << n << ": " << to_string(m.status());
      EXPECT_EQ(m->bytes()[0], ~std::byte{'a'});
    }
    EXPECT_EQ(broker_->stats().runner_deaths, 0u);
    EXPECT_TRUE(finish(out));
  }

 private:
  TemporaryDirectory folder_;
};
INSTANTIATE_TEST_SUITE_P(Once, CudaClientDeadline, testing::Values(kKinds[3]), kind_name);

#define CREATE_OR_SKIP(...) \
  if (!create(__VA_ARGS__)) GTEST_SKIP() << skip_

TEST_P(CudaClientDeadline, AllMessagesOfASerialHandlerWaitForALatePayload) {
  CREATE_OR_SKIP(true, ExecutorKind::persistent);
  expect_patience();
}

TEST_P(CudaClientDeadline, AllMessagesOfAStreamWaitForALatePayload) {
  CREATE_OR_SKIP(false, ExecutorKind::stream);
  expect_patience();
}

TEST_P(CudaClientDeadline, OthersAreDoneMeanwhile) {
  CREATE_OR_SKIP(false, ExecutorKind::persistent);
  expect_patience();
}

}  // namespace
}  // namespace ipcq_test
