// What clients ask of handlers and state, without a runner: own_handlers/state_test.cpp has the rest.
#include "broker/errands.hpp"

#include <gmock/gmock.h>

#include <condition_variable>
#include <string>
#include <vector>

#include "base/memory_file.hpp"
#include "broker/parts.hpp"
#include "control/options_codec.hpp"
#include "eventually.hpp"
#include "layout/text_field.hpp"

namespace ipcq::detail {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class ErrandsTest : public testing::Test {
 protected:
  ~ErrandsTest() override {
    {
      const Lock lock(parts_.context.mutex);
      parts_.context.quitting = true;
    }
    errands_.join();
  }
  static Request request(Op op) {
    Request r;
    r.op = op;
    r.serial = 7;
    set_text(r.name, sizeof r.name, std::string("q"));
    return r;
  }
  bool take(const Request& r) {
    const Lock lock(parts_.context.mutex);
    return errands_.take(client_, r);
  }
  struct Sent {
    Reply reply;
    std::string attached;
  };
  Sent create(const std::string& queue, const QueueOptions& options) {
    const std::string text = encode(options);
    client_.upload = make_memory_file(text.size(), "it");
    write_at_begin(client_.upload.get(), text, "it");
    Request r = request(Op::create_queue);
    set_text(r.name, sizeof r.name, queue);
    EXPECT_TRUE(take(r));
    return answer();
  }
  // The answer to the last errand that was taken.
  Sent answer() {
    EXPECT_TRUE(ipcq_test::eventually([&] {
      const Lock lock(parts_.context.mutex);
      return !sent_.empty();
    }));
    const Lock lock(parts_.context.mutex);
    const Sent last = sent_.back();
    sent_.clear();
    return last;
  }

  Parts parts_;
  QueueEntry& q_ = parts_.create("q", Parts::small());
  ConnectedClient& client_ = parts_.connect();
  std::vector<Sent> sent_;
  Errands errands_{parts_.context, parts_.changes, parts_.administration, parts_.clients,
                   [this](ConnectedClient&, Reply& reply, const Fd& attachment) {
                     sent_.push_back({reply, attachment ? read_memfd(attachment.get()) : ""});
                   }};
};

TEST_F(ErrandsTest, AreThoseOfTheBrokersUserAlone) {
  EXPECT_FALSE(take(request(Op::stats)));
  EXPECT_FALSE(take(request(Op::load_state))) << "nothing is uploaded";
  client_.upload = make_memory_file(10, "it");
  client_.uid = ::geteuid() + 1;
  for (const Op op : {Op::save_state, Op::load_state, Op::replace_handler}) EXPECT_FALSE(take(request(op)));
  EXPECT_TRUE(client_.upload);
  EXPECT_FALSE(client_.asking);
}

TEST_F(ErrandsTest, ThoseOfQueuesAreForAdministratorsToo) {
  client_.uid = ::geteuid() + 1;
  const auto all = {Op::create_queue, Op::create_pool, Op::remove_queue, Op::remove_pool, Op::pause, Op::resume};
  for (const Op op : all) {
    client_.administrates = false;
    client_.upload = make_memory_file(10, "it");
    EXPECT_FALSE(take(request(op)));
    client_.administrates = true;
    EXPECT_TRUE(take(request(op)));
    (void)answer();
  }
  client_.upload.reset();
  EXPECT_FALSE(take(request(Op::create_queue))) << "nothing is uploaded";
}

TEST_F(ErrandsTest, AnAdministratorCreatesAndPausesAndRemoves) {
  client_.administrates = true;
  client_.uid = ::geteuid() + 1;
  EXPECT_THAT(create("new", Parts::small()).reply.text, testing::StrEq(""));
  Request r = request(Op::pause);
  set_text(r.name, sizeof r.name, std::string("new"));
  ASSERT_TRUE(take(r));
  EXPECT_EQ(answer().reply.refusal, Refusal::none);
  EXPECT_TRUE(parts_.registry.find("new").options.paused);
  ASSERT_TRUE(send(parts_.registry.find("new"), 9));
  r.op = Op::remove_queue;
  ASSERT_TRUE(take(r));
  EXPECT_THAT(answer().reply.text, HasSubstr("has 1 message"));
  r.flags = kAtOnce;
  ASSERT_TRUE(take(r));
  const Sent sent = answer();
  EXPECT_EQ(sent.reply.refusal, Refusal::none);
  EXPECT_EQ(sent.reply.messages, 1u);
  EXPECT_EQ(parts_.registry.queues().size(), 1u);
}

TEST_F(ErrandsTest, AnAdministratorNamesNoFile) {
  client_.administrates = true;
  client_.uid = ::geteuid() + 1;
  QueueOptions o = Parts::small();
  o.handler = "/tmp/x.cu";
  Sent sent = create("new", o);
  EXPECT_EQ(sent.reply.refusal, Refusal::permission);
  EXPECT_THAT(sent.reply.text, HasSubstr("'/tmp/x.cu', which only the broker's own user and root may"));
  o = Parts::small();
  o.state_file = "/etc/shadow";
  EXPECT_EQ(create("new", o).reply.refusal, Refusal::permission);
  EXPECT_EQ(parts_.registry.queues().size(), 1u);
}

TEST_F(ErrandsTest, ARefusalCarriesTheSerialOfItsRequest) {
  ASSERT_TRUE(take(request(Op::save_state)));
  const Sent sent = answer();
  EXPECT_EQ(sent.reply.serial, 7u);
  EXPECT_EQ(sent.reply.refusal, Refusal::usage);
  EXPECT_THAT(sent.reply.text, HasSubstr("queue 'q': its handler has no state"));
  EXPECT_EQ(sent.attached, "");
  client_.upload = make_memory_file(10, "it");
  ASSERT_TRUE(take(request(Op::replace_handler)));
  EXPECT_FALSE(client_.upload);
  EXPECT_THAT(answer().reply.text, HasSubstr("queue 'q': it has no handler"));
}

TEST_F(ErrandsTest, OneAtATimeOfEachClient) {
  client_.asking = true;
  EXPECT_FALSE(take(request(Op::save_state)));
  client_.asking = false;
  ASSERT_TRUE(take(request(Op::save_state)));
  (void)answer();
  const Lock lock(parts_.context.mutex);
  EXPECT_FALSE(client_.asking);
}

}  // namespace
}  // namespace ipcq::detail
