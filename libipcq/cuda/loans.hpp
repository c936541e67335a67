// A producer's loans of slots that kernels write: published, or given back, in the order of their streams.
//
// A slot whose loan is dropped goes back when its stream has passed the drop, which a thread watches for; so does one
// that was published for no group. A publish that failed has its stream write gpub all the same; a drop after that is
// told by a word of this side's own. Belongs to the producer's thread, except for what `mutex_` guards.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "client/producer_core.hpp"
#include "endpoint_memory.hpp"
#include "host_block.hpp"
#include "poll_thread.hpp"

namespace ipcq::detail {
class LoanSide;
}

namespace ipcq::cuda::detail {

struct LoanState {
  std::shared_ptr<ipcq::detail::LoanSide> side;  // while a handle is out
  const ipcq::detail::View* view = nullptr;
  Stream stream = nullptr;
  ipcq::detail::SlotLoan loan;
  bool announced = false;  // gpub is written before anything enqueued later
};

}  // namespace ipcq::cuda::detail

namespace ipcq::detail {

class LoanSide final : public DeviceSide, public std::enable_shared_from_this<LoanSide> {
 public:
  using LoanState = cuda::detail::LoanState;

  explicit LoanSide(ProducerCore& core);
  ~LoanSide() override;
  // That of the producer, made at the first use. Throws UsageError.
  static LoanSide& of(ProducerCore& core);

  Result<cuda::Loan> loan(cuda::Stream stream, Duration timeout);
  Status publish(LoanState& state, std::size_t length, Duration timeout) noexcept;
  void drop(LoanState& state) noexcept;
  std::byte* device(const LoanState& state) const noexcept { return state.view->payload(state.loan.slot); }
  std::size_t capacity() const noexcept { return memory_.pool().config().slot_bytes; }

  Status settle(Duration) noexcept override { return Status::ok; }
  void close() noexcept override;

 private:
  bool announce(LoanState& state) noexcept;
  bool refuses(const LoanState& state) noexcept;  // its stream captures
  // Waits on the CPU for what the stream has been given so far. closed: its context is broken.
  Status await_stream(const LoanState& state, Deadline& deadline) noexcept;
  // Gives the slot back once its stream has passed this point. False: that cannot be told.
  bool return_passed(LoanState& state) noexcept;
  struct Dropped {
    SlotLoan loan;
    const View* view;
    const Word* passed;  // comes to the lease when the stream has passed
  };
  void return_later(const LoanState& state, const Word& passed) noexcept;
  Word& passed(std::uint32_t slot) const noexcept { return static_cast<Word*>(passed_->data())[slot]; }
  void recycle(LoanState& state) noexcept;
  // Gives back what streams have left. True when nothing is left to give back.
  bool harvest() noexcept;
  std::uint64_t look() noexcept;
  bool is_written(std::uint32_t slot) const noexcept;  // or nothing of ours is to come
  bool all_written() const noexcept;
  // For what can never be written because its context has failed. True when there is such a context.
  bool give_up_broken() noexcept;
  void bury_unwritten(const View& view) noexcept;
  void forget_dropped(const View& view) noexcept;

  ProducerCore* core_;  // not used once closed
  SessionCore* session_;
  EndpointMemory memory_;
  std::unique_ptr<HostBlock> passed_;  // a word per slot: lease whose stream has passed its drop
  std::vector<std::unique_ptr<LoanState>> states_;
  std::vector<LoanState*> spare_;
  struct Published {
    std::uint64_t lease = 0;  // that a stream of ours completes; 0: none
    const View* view = nullptr;
  };
  std::vector<Published> published_;  // per slot
  bool closed_ = false;
  const std::uint32_t epoch_ = fork_epoch();
  std::mutex mutex_;
  std::vector<Dropped> dropped_;  // guarded; room for every slot
  std::uint64_t moved_at_ = 0;    // guarded; ns
  std::unique_ptr<PollThread> poll_thread_;
};

}  // namespace ipcq::detail
