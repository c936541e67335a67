// What the broker keeps of a client whose GPU work may outlast it. No GPU is needed: slots and messages are put by hand
// into the state that the repair leaves, and a script stands in for the runner.
#include "broker/outliving_work.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <utility>

#include "broker/parts.hpp"
#include "broker/scripted_runner.hpp"
#include "eventually.hpp"
#include "layout/text_field.hpp"
#include "unit/child.hpp"
#include "unit/device_segments.hpp"

namespace ipcq::detail {
namespace {

using ipcq_test::eventually;

// One producer with a GPU, of a process that the test kills. The test itself has the other end of its connection, as a
// forked child of that process would.
class OutlivingWorkTest : public testing::Test {
 protected:
  OutlivingWorkTest() {
    DeviceSegments words(QueueMap::Executed::by_device);
    q_.map = std::move(words.queue_owner);
    q_.pool->map = std::move(words.pool_owner);
    client_.pid = process_.pid();
    client_.pidfd = open_pidfd(process_.pid());
  }
  ~OutlivingWorkTest() override {
    {
      const Lock lock(parts_.context.mutex);
      parts_.context.stopped = true;
    }
    parts_.context.changed.notify_all();
    work_.join();
    work_.clear();
  }

  EndpointEntry endpoint() const {
    EndpointEntry e;
    e.client = kId;
    e.kind = EndpointKind::producer;
    e.pid = client_.pid;
    e.session = session_;
    e.uses_cuda = true;
    return e;
  }
  const Pool<SharedAtomics>& pool() const { return q_.pool->map->pool(); }
  SlotLoan borrow_for_gpu() const {
    std::uint32_t hint = 0;
    const SlotLoan loan = pool().borrow(kId, hint);
    pool().mark_for_gpu(loan, kId, LoanWriter::gpu);
    return loan;
  }
  // A slot as the repair of the endpoint leaves it, and the quarantine that is kept for it.
  std::uint32_t quarantined_slot() {
    const SlotLoan loan = borrow_for_gpu();
    EXPECT_TRUE(pool().quarantine(loan.slot, pool().slot(loan.slot)));
    EXPECT_TRUE(work_.keep_quarantine(q_, endpoint()));
    return loan.slot;
  }
  // A message of a producer that has closed, which its GPU has still to write.
  SlotLoan late_message() {
    const SlotLoan loan = borrow_for_gpu();
    std::uint64_t limit = 0;
    const PublishClaim c = q_.map->ring().claim_publish(kId, 1, limit);
    EXPECT_EQ(c.outcome, ClaimOutcome::ok);
    pool().mark_message(loan, kId, c.groups, c.ticket);
    Descriptor d = Segments::slot_message(loan, 0);
    d.flags = 0;
    q_.map->ring().write(c.ticket, d, nullptr);
    work_.keep_late_writer(q_, endpoint());
    return loan;
  }
  std::uint64_t buried(std::uint32_t slot) const { return q_.pool->map->tomb(slot).load(std::memory_order_acquire); }
  SlotState state(std::uint32_t slot) {
    const Lock lock(parts_.context.mutex);
    return pool().slot(slot).state;
  }
  void look() {
    const Lock lock(parts_.context.mutex);
    work_.check_quarantines();
  }
  bool bears() {
    const Lock lock(parts_.context.mutex);
    return work_.bears(kId);
  }
  void end_process() {
    ::kill(process_.pid(), SIGKILL);
    process_.reap();
  }
  // As the broker does once the process has ended.
  void remove_client() {
    work_.keep_connection(client_);
    parts_.clients.remove(client_);
  }
  void close_last_copy() { parts_.other_ends.clear(); }
  // Serves the descriptors that have an event. Returns their number.
  int serve() {
    int served = 0;
    for (const int fd : parts_.context.polls.wait(0)) served += work_.serve(fd) ? 1 : 0;
    return served;
  }

  static constexpr std::uint32_t kId = 9;
  Parts parts_;
  QueueEntry& q_ = parts_.create("q", Parts::small());
  ipcq_test::Child process_{[] { ::pause(); }};  // forked before the connection is made, so it has no copy
  ConnectedClient& client_ = parts_.connect();
  const int session_ = client_.socket.get();
  OutlivingWork& work_ = parts_.outliving;
};

TEST_F(OutlivingWorkTest, MayOutliveAProcessWhoseConnectionAnotherHas) {
  EndpointEntry e = endpoint();
  EXPECT_TRUE(work_.may_outlive(q_, e));
  e.uses_cuda = false;
  EXPECT_FALSE(work_.may_outlive(q_, e));
  e.uses_cuda = true;
  close_last_copy();
  EXPECT_FALSE(work_.may_outlive(q_, e));
}

TEST_F(OutlivingWorkTest, AQuarantineEndsOnceTheProcessHasEndedAndItsConnectionIsClosed) {
  const std::uint32_t slot = quarantined_slot();
  EXPECT_TRUE(work_.bears(kId));
  EXPECT_FALSE(work_.bears(kId + 1));
  EXPECT_TRUE(work_.keeps_connection(session_));
  look();
  EXPECT_EQ(state(slot), SlotState::quarantine) << "the process lives";
  end_process();
  EXPECT_EQ(serve(), 1);
  look();
  EXPECT_EQ(state(slot), SlotState::quarantine) << "its client is not removed";
  remove_client();
  EXPECT_FALSE(work_.keeps_connection(session_));
  look();
  EXPECT_EQ(state(slot), SlotState::quarantine) << "another process has its connection";
  EXPECT_EQ(serve(), 0);
  close_last_copy();
  EXPECT_EQ(serve(), 1);
  EXPECT_TRUE(work_.bears(kId));
  look();
  EXPECT_EQ(state(slot), SlotState::free);
  EXPECT_FALSE(work_.bears(kId));
  EXPECT_EQ(serve(), 0) << "nothing of it is watched any more";
}

TEST_F(OutlivingWorkTest, AQuarantineOutlastsItsConnectionWhileTheProcessLives) {
  const std::uint32_t slot = quarantined_slot();
  remove_client();
  close_last_copy();
  EXPECT_EQ(serve(), 1);
  look();
  EXPECT_EQ(state(slot), SlotState::quarantine);
  end_process();
  EXPECT_EQ(serve(), 1);
  look();
  EXPECT_EQ(state(slot), SlotState::free);
}

TEST_F(OutlivingWorkTest, TwoQuarantinesOfOneClientShareItsConnection) {
  const std::uint32_t slot = quarantined_slot();
  const std::uint32_t other = quarantined_slot();
  end_process();
  remove_client();
  close_last_copy();
  look();
  EXPECT_EQ(state(slot), SlotState::free);
  EXPECT_EQ(state(other), SlotState::free);
  EXPECT_FALSE(work_.bears(kId));
}

TEST_F(OutlivingWorkTest, AQuarantineWhosePoolIsGoneIsDropped) {
  (void)quarantined_slot();
  look();
  EXPECT_TRUE(work_.bears(kId));
  parts_.registry.queues().clear();
  parts_.registry.pools().clear();
  look();
  EXPECT_FALSE(work_.bears(kId));
  end_process();
  EXPECT_EQ(serve(), 0);
}

TEST_F(OutlivingWorkTest, ThereIsNoneForASessionThatIsUnknown) {
  EndpointEntry e = endpoint();
  e.session = -1;
  EXPECT_FALSE(work_.keep_quarantine(q_, e));
  work_.keep_late_writer(q_, e);
  EXPECT_FALSE(work_.bears(kId));
  EXPECT_FALSE(work_.serve(session_)) << "a descriptor of another part";
}

TEST_F(OutlivingWorkTest, WhatALateWriterNeverCompletedIsBuriedOnceItsProcessHasEnded) {
  const SlotLoan late = late_message();
  EXPECT_TRUE(work_.bears(kId));
  EXPECT_EQ(serve(), 0);
  EXPECT_LT(buried(late.slot), late.lease);
  end_process();
  EXPECT_EQ(serve(), 1);
  EXPECT_EQ(buried(late.slot), late.lease);
  EXPECT_EQ(state(late.slot), SlotState::free);
  EXPECT_FALSE(work_.bears(kId));
}

TEST_F(OutlivingWorkTest, WhatALateWriterCompletedStays) {
  const SlotLoan late = late_message();
  q_.pool->map->gpub(late.slot).store(late.lease, std::memory_order_release);
  end_process();
  EXPECT_EQ(serve(), 1);
  EXPECT_LT(buried(late.slot), late.lease);
  EXPECT_EQ(state(late.slot), SlotState::message);
}

TEST_F(OutlivingWorkTest, ALateWriterWhoseQueueIsGoneIsForgotten) {
  (void)late_message();
  parts_.registry.queues().clear();
  end_process();
  EXPECT_EQ(serve(), 1);
  EXPECT_FALSE(work_.bears(kId));
}

TEST_F(OutlivingWorkTest, AQuarantineEndsBehindTheLateMessagesOfItsClient) {
  const std::uint32_t slot = quarantined_slot();
  const SlotLoan late = late_message();
  end_process();
  remove_client();
  close_last_copy();
  look();
  EXPECT_EQ(state(slot), SlotState::quarantine) << "what it published is not buried";
  EXPECT_EQ(serve(), 3);  // the process, twice, and the connection
  EXPECT_EQ(state(late.slot), SlotState::free);
  look();
  EXPECT_EQ(state(slot), SlotState::free);
}

TEST_F(OutlivingWorkTest, ALateMessageThatAForkedChildMayStillWriteIsBuriedAndItsSlotIsNotLent) {
  (void)quarantined_slot();
  const SlotLoan late = late_message();
  end_process();
  remove_client();
  EXPECT_EQ(serve(), 2);
  EXPECT_EQ(buried(late.slot), late.lease);
  EXPECT_EQ(state(late.slot), SlotState::quarantine);
  close_last_copy();
  look();
  EXPECT_EQ(state(late.slot), SlotState::free);
}

// Under MPS the server runs the work: the pool's runner has to say that its context still works.
class OutlivingWorkUnderMps : public ipcq_test::ScriptedRunner, public OutlivingWorkTest {
 protected:
  OutlivingWorkUnderMps() : ScriptedRunner(true) {}
  // A quarantine that is due but for the answer of the runner.
  std::uint32_t due_slot() {
    q_.pool->runner = RunnerLink::get(31, -1);
    const std::uint32_t slot = quarantined_slot();
    end_process();
    remove_client();
    close_last_copy();
    return slot;
  }
  // The runner answers that its check has failed, for which it is killed.
  void fail_check(const char* text) {
    RunnerReply no;
    no.failed = 1;
    set_text(no.text, sizeof no.text, text);
    write("reply", &no, sizeof no);
    good_script();
    const std::uint32_t slot = due_slot();
    look();
    EXPECT_TRUE(eventually([&] { return !bears(); }));
    EXPECT_EQ(state(slot), SlotState::quarantine);
    EXPECT_TRUE(eventually([&] { return q_.pool->runner->is_gone(); }));
  }
};

TEST_F(OutlivingWorkUnderMps, AQuarantineEndsOnceTheRunnersContextWorks) {
  script("say hello; hear asked; while ! test -e go; do sleep 0.01; done; say reply; while hear x; do say reply; done");
  const std::uint32_t slot = due_slot();
  look();
  ASSERT_TRUE(eventually([&] { return read("asked").size() == sizeof(RunnerRequest); }));
  RunnerRequest asked;
  read("asked").copy(reinterpret_cast<char*>(&asked), sizeof asked);
  EXPECT_EQ(asked.op, RunnerOp::check);
  look();
  EXPECT_EQ(state(slot), SlotState::quarantine);
  write("go", "", 0);
  EXPECT_TRUE(eventually([&] { return !bears(); }));
  EXPECT_EQ(state(slot), SlotState::free);
  EXPECT_FALSE(q_.pool->runner->is_lost());
}

TEST_F(OutlivingWorkUnderMps, ARunnerWhoseContextFailsIsKilledAndTheSlotsAreNotLent) {
  fail_check("its context has failed");
  EXPECT_EQ(q_.pool->runner->how_it_ended(), "killed by signal 9");
}

TEST_F(OutlivingWorkUnderMps, ARunnerThatDoesNotSayWhyItFailsIsKilledToo) {
  fail_check("");
  EXPECT_EQ(q_.pool->runner->how_it_ended(), "killed by signal 9");
}

TEST_F(OutlivingWorkUnderMps, NoRunnerIsAskedOnceTheBrokerStops) {
  good_script();
  const std::uint32_t slot = due_slot();
  {
    const Lock lock(parts_.context.mutex);
    parts_.context.stopped = true;
  }
  look();
  work_.join();
  EXPECT_TRUE(bears());
  EXPECT_EQ(state(slot), SlotState::quarantine);
}

}  // namespace
}  // namespace ipcq::detail
