// What clients ask of handlers and state, without a runner: own_handlers/state_test.cpp has the rest.
#include "broker/errands.hpp"

#include <gmock/gmock.h>

#include <condition_variable>
#include <string>
#include <vector>

#include "base/memory_file.hpp"
#include "broker/parts.hpp"
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
  Errands errands_{parts_.context, parts_.changes, parts_.clients,
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
