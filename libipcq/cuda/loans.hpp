// A producer's loans of slots that kernels write. Each is published, or given back, at a point of its stream: the
// stream writes a word there, and only then is the payload complete, or the slot free.
//
//   loan() ---> lent ---> publish(): the stream will write gpub, then the line is published ---> recycle()
//                 |
//                 +-----> drop(): the stream will write a word; the poll thread gives the slot back once it has
//
// A dropped loan's word is gpub, unless a publish that failed has had it written already: then it is passed_. A slot
// that was published while the queue had no group is given back in the same way.
//
// For the producer's thread, except for what mutex_ guards, which the poll thread uses too. Invariant: a slot that a
// stream may still write is never given back; the broker takes it over when the producer is closed.
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
  std::shared_ptr<ipcq::detail::LoanSide> side;  // set while the user has the cuda::Loan
  const ipcq::detail::View* view = nullptr;
  Stream stream = nullptr;
  ipcq::detail::SlotLoan loan;
  bool announced = false;  // the write of gpub is enqueued, or done
};

}  // namespace ipcq::cuda::detail

namespace ipcq::detail {

class LoanSide final : public DeviceSide, public std::enable_shared_from_this<LoanSide> {
 public:
  using LoanState = cuda::detail::LoanState;

  explicit LoanSide(ProducerCore& core);
  ~LoanSide() override;
  // The producer's, made by the first call. Throws UsageError: a forked child, or not opened for ipcq::cuda.
  static LoanSide& of(ProducerCore& core);

  Result<cuda::Loan> loan(cuda::Stream stream, Deadline& deadline);
  Status publish(LoanState& state, std::size_t length, Deadline& deadline) noexcept;
  void drop(LoanState& state) noexcept;
  std::byte* device(const LoanState& state) const noexcept { return state.view->payload(state.loan.slot); }
  std::size_t capacity() const noexcept { return memory_.pool().config().slot_bytes; }
  Status set_metadata(const LoanState& state, std::span<const std::byte> bytes) const noexcept {
    if (closed_ || epoch_ != fork_epoch()) return Status::closed;  // another producer may have the slot
    return memory_.pool().give_metadata(state.loan, bytes);
  }

  Status await_receives(Deadline&) noexcept override { return Status::ok; }
  void close() noexcept override;

 private:
  bool announce(LoanState& state) noexcept;       // enqueues gpub = lease. False: logged
  bool refuses(const LoanState& state) noexcept;  // whether its stream captures: logged
  // Waits on the CPU for all that is enqueued on the stream so far. closed: its context is broken.
  Status await_stream(const LoanState& state, Deadline& deadline) noexcept;
  // Has the slot given back once its stream has passed this point. False: no write could be enqueued, the slot stays
  // lent.
  bool return_passed(LoanState& state) noexcept;
  struct Dropped {
    SlotLoan loan;
    const View* view;
    const Word* passed;  // reaches the lease when the stream has passed the drop
  };
  void return_later(const LoanState& state, const Word& passed) noexcept;
  Word& passed(std::uint32_t slot) const noexcept { return static_cast<Word*>(passed_->data())[slot]; }
  void recycle(LoanState& state) noexcept;
  // Gives back the dropped slots whose streams have passed the drop. True when none is left.
  bool harvest() noexcept;
  std::uint64_t poll_round() noexcept;
  bool is_written(std::uint32_t slot) const noexcept;  // no stream of this producer has still to complete it
  bool all_written() const noexcept;
  // Buries published payloads, and forgets drops, whose words will never be written as their context has failed. True
  // when there is such a context.
  bool give_up_broken() noexcept;
  void bury_unwritten(const View& view) noexcept;
  void forget_dropped(const View& view) noexcept;

  ProducerCore* core_;  // not used once closed
  SessionCore* session_;
  EndpointMemory memory_;
  std::unique_ptr<HostBlock> passed_;  // a word per slot: the last lease whose stream has passed its drop
  std::vector<std::unique_ptr<LoanState>> states_;
  std::vector<LoanState*> spare_;
  struct Published {
    std::uint64_t lease = 0;  // the last that this producer published in the slot; 0: none
    const View* view = nullptr;
  };
  std::vector<Published> published_;  // per slot
  bool closed_ = false;
  const std::uint32_t epoch_ = fork_epoch();
  std::mutex mutex_;
  std::vector<Dropped> dropped_;  // guarded by mutex_; has capacity for every slot
  std::uint64_t moved_at_ = 0;    // guarded by mutex_; when dropped_ changed last, ns
  std::unique_ptr<PollThread> poll_thread_;
};

}  // namespace ipcq::detail
