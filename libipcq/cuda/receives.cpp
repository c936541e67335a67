#include "receives.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>
#include <utility>

#include "attached_side.hpp"
#include "exit_guard.hpp"

namespace ipcq::detail {
namespace {

// How long a receive waits for streams to release messages before it asks whether their contexts have failed (ns).
constexpr std::uint64_t kLookForBroken = 100'000'000;

const std::uint32_t* tag_word(const Unit* line) noexcept {
  return reinterpret_cast<const std::uint32_t*>(line) + kTagWord;
}

}  // namespace

ReceiveSide::ReceiveSide(ConsumerCore& core)
    : core_(&core),
      session_(core.shared_session().get()),
      memory_(*session_, core.queue(), core.shared_pool(), true),
      ring_(core.queue()->ring()),
      entries_(core.queue()->config().held_per_endpoint),
      states_(std::make_unique<MessageState[]>(entries_)),
      poll_thread_(std::make_unique<PollThread>([this] { return poll_round(); })) {
  // The broker lets no consumer in to such a queue. Its header, from which this size comes, lies in shared memory.
  if (ring_.inline_bytes() > kDeliveredInlineBytes) {
    throw LayoutError(memory_.object() + ": damaged: its lines carry more than a consumer with a GPU takes; restart " +
                      "its broker");
  }
  spare_.reserve(entries_);
  releasing_.reserve(entries_);
  awaited_.reserve(entries_);
}

ReceiveSide::~ReceiveSide() {
  if (epoch_ == fork_epoch()) return;
  (void)poll_thread_.release();  // its thread, and any that held its lock or that of spare blocks, exist in the parent
  (void)block_.release();
  for (auto& [view, entries] : delivered_) (void)entries.release();
}

ReceiveSide& ReceiveSide::of(ConsumerCore& core) { return attached_side<ReceiveSide>(core, "consumer"); }

const View& ReceiveSide::prepare(cuda::Stream stream) {
  const View& view = memory_.view(stream);
  if (!block_) {
    close_at_exit(weak_from_this());
    // Without the poll thread nothing would end the stream's waits. Once started it runs until close().
    if (!poll_thread_->start() && !closing_) throw_no_thread(EAGAIN, memory_.object());
    block_ = std::make_unique<HostBlock>(view.context, entries_ * sizeof(PinnedEntry), memory_.object());
    auto* const pinned = static_cast<PinnedEntry*>(block_->data());
    for (std::size_t i = 0; i < entries_; ++i) {
      states_[i].pinned = &pinned[i];
      spare_.push_back(&states_[i]);
    }
  }
  (void)delivered_in(view);
  return view;
}

const DeliveredEntries& ReceiveSide::delivered_in(const View& view) {
  for (const auto& [known, entries] : delivered_) {
    if (known == &view) return *entries;
  }
  auto entries = std::make_unique<DeliveredEntries>(view.context, entries_, memory_.object());
  delivered_.emplace_back(&view, std::move(entries));
  return *delivered_.back().second;
}

ReceiveSide::MessageState* ReceiveSide::take_entry(const View& view, cuda::Stream stream) noexcept {
  const std::scoped_lock lock(mutex_);
  harvest();
  return reserve(view, stream);
}

ReceiveSide::MessageState* ReceiveSide::reserve(const View& view, cuda::Stream stream) {
  if (spare_.empty()) return nullptr;
  MessageState* const state = spare_.back();
  spare_.pop_back();
  state->view = &view;
  state->stream = stream;
  const auto index = static_cast<std::size_t>(state - states_.get());
  const DeliveredEntries& entries = delivered_in(view);
  state->on_device = entries.entry(index);
  state->decided = entries.decided(index);
  state->payload_use = DeliveredEntries::next_use();
  state->may_be_lost = state->delivered = false;
  state->tomb = nullptr;
  state->taken = false;
  ++state->use;
  return state;
}

void ReceiveSide::free(MessageState& state) noexcept {
  if (state.awaited) {
    state.awaited = false;
    std::erase_if(awaited_, [&state](const Awaited& a) { return a.state == &state; });
  }
  state.wait.end();
  state.resolved.store(false, std::memory_order_relaxed);
  spare_.push_back(&state);
}

Status ReceiveSide::end_status() const noexcept {
  Interruption why = session_->interruption(memory_.queue());
  why.interrupted = nullptr;
  return why.check();
}

bool ReceiveSide::is_complete(const MessageState& state) const noexcept {
  return is_complete(state.descriptor, state.message.ticket());
}

bool ReceiveSide::is_complete(const Descriptor& d, std::uint64_t ticket) const noexcept {
  if (d.kind != LineKind::slot) return true;  // inline messages are taken once processed
  if ((d.flags & kBeforeExecutor) != 0) return ring_.is_processed(ticket);
  // With an executor in between, a payload whose `out` line is written is complete.
  return ring_.has_handler() || is_written(d, memory_.pool());
}

bool ReceiveSide::enqueue_wait_for(MessageState& state) {
  if (is_complete(state)) return false;
  const Descriptor& d = state.descriptor;
  const std::uint64_t ticket = state.message.ticket();
  OpenWait wait = OpenWait::begin();
  if ((d.flags & kBeforeExecutor) != 0) {
    // Greater or equal, cyclically: the line may serve another lap when the stream gets there.
    // SYNC line-tagged (acquire, by the stream). Pairs with: the executor's write of `out`.
    check_cuda(enqueue_wait(*state.view, state.stream, tag_word(ring_.out(ticket)),
                            static_cast<std::uint32_t>(memory_.queue().ring().lap(ticket))),
               "cuStreamWaitValue32", memory_.object());
  } else {
    check_cuda(enqueue_wait(*state.view, state.stream, memory_.pool().gpub(d.slot), d.lease), "cuStreamWaitValue64",
               memory_.object());
  }
  const std::scoped_lock lock(mutex_);
  state.awaited = true;
  awaited_.push_back({&state, d, ticket, std::move(wait)});
  return true;
}

void ReceiveSide::fill_header(MessageState& state, Status status) noexcept {
  cuda::Header& h = state.pinned->content.header;
  h = cuda::Header{};
  h.state = static_cast<std::uint32_t>(status);
  if (status != Status::ok) return;
  const Descriptor& d = state.descriptor;
  h.length = d.length;
  h.sequence = d.sequence;
  if (d.kind == LineKind::inlined) {
    std::memcpy(state.pinned->content.inlined, state.message.bytes().data(), d.length);
    h.data = state.on_device->inlined;
    return;
  }
  h.data = state.view->payload(d.slot);
  state.tomb = &memory_.pool().tomb(d.slot);
}

void ReceiveSide::note_whether_lost(MessageState& state) noexcept {
  if (state.is_lost()) state.pinned->content.header.lost = 1;
}

CUresult ReceiveSide::enqueue_delivery(MessageState& state) noexcept {
  for (const auto& [view, entries] : delivered_) {
    if (view != state.view) continue;
    const CUresult result =
        entries->enqueue(state.stream, state.pinned->content, state.may_be_lost ? state.tomb : nullptr,
                         state.descriptor.lease, state.on_device);
    state.delivered = result == CUDA_SUCCESS;
    return result;
  }
  return CUDA_ERROR_INVALID_CONTEXT;
}

const cuda::Header* ReceiveSide::header(MessageState& state) noexcept {
  if (closed_ || epoch_ != fork_epoch()) return nullptr;
  if (!state.delivered) {
    const bool captures = is_capturing(*state.view, state.stream);
    const CUresult result = captures ? CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED : enqueue_delivery(state);
    if (result != CUDA_SUCCESS) {
      session_->log(LogLevel::error, describe(driver(), result, "cuLaunchKernel", memory_.object()) +
                                         "; ask for the header before the capture begins, or use payload()");
      return nullptr;
    }
  }
  return &state.on_device->header;
}

void ReceiveSide::abandon(MessageState& state) noexcept {
  (void)state.message.nack();
  const std::scoped_lock lock(mutex_);
  // A wait that was enqueued stays in awaited_, and so is still ended in time.
  for (auto& a : awaited_) {
    if (a.state == &state) a.state = nullptr;
  }
  state.awaited = false;
  free(state);
}

Result<cuda::Message> ReceiveSide::receive(cuda::Stream stream, Deadline& deadline) {
  const View& view = prepare(stream);
  deadline.start();
  if (const Status s = await_receives(deadline); s != Status::ok) return s;
  const std::uint64_t start = now_ns();
  MessageState* state = nullptr;
  for (;;) {
    bool some_will_end = false;
    {
      const std::scoped_lock lock(mutex_);
      harvest();
      state = reserve(view, stream);
      some_will_end = !releasing_.empty();
    }
    Status s = Status::full;
    if (state == nullptr) {
      if (const Status over = end_status(); over != Status::ok) return over;
    } else {
      s = core_->receive_early(state->message, state->descriptor, deadline);
      if (s == Status::ok) break;
      const std::scoped_lock lock(mutex_);
      free(*state);
    }
    // `full` only for now if a stream has still to release an entry: then wait for it.
    if (s != Status::full || !some_will_end) return s;
    if (const Status why = session_->interruption(memory_.queue()).check(); why != Status::ok) return why;
    if (deadline.has_passed()) return deadline.outcome(Status::full);
    if (now_ns() - start >= kLookForBroken) give_up_broken();
    std::this_thread::sleep_for(std::chrono::nanoseconds(nap_after(now_ns() - start)));
  }
  fill_header(*state, Status::ok);
  bool awaited = false;
  try {
    awaited = enqueue_wait_for(*state);
    state->may_be_lost = awaited;
    if (!awaited) note_whether_lost(*state);
    // An inline payload reaches the device together with the header.
    if (state->descriptor.kind == LineKind::inlined) {
      check_cuda(enqueue_delivery(*state), "cuLaunchKernel", memory_.object());
    }
  } catch (...) {
    abandon(*state);
    if (awaited) poll_thread_->wake();
    throw;
  }
  state->resolved.store(true, std::memory_order_release);
  state->side = shared_from_this();
  if (awaited) poll_thread_->wake();  // to end the wait if the queue ends
  return cuda::Message(state);
}

Result<cuda::Message> ReceiveSide::receive_ahead(cuda::Stream stream) {
  const View& view = prepare(stream);
  if (core_->is_unusable()) return Status::closed;
  if (const Status s = end_status(); s != Status::ok) return s;
  MessageState* const state = take_entry(view, stream);
  if (state == nullptr) return Status::full;
  state->wait = OpenWait::begin();
  // Without the lock: a stream that is full takes no more until the poll thread has resolved an earlier entry.
  // SYNC ahead-resolved (acquire, by the stream). Pairs with: resolve.
  const CUresult result = enqueue_wait(view, stream, state->pinned->resolved, state->use);
  try {
    check_cuda(result, "cuStreamWaitValue64", memory_.object());
    check_cuda(enqueue_delivery(*state), "cuLaunchKernel", memory_.object());
  } catch (...) {
    state->pinned->resolved.store(state->use, std::memory_order_release);  // ends the wait, if it was enqueued
    const std::scoped_lock lock(mutex_);
    free(*state);
    throw;
  }
  const std::scoped_lock lock(mutex_);
  state->side = shared_from_this();
  ahead_.push_back(state);
  unresolved_.store(ahead_.size(), std::memory_order_relaxed);
  moved_at_ = now_ns();
  poll_thread_->wake();
  return cuda::Message(state);
}

Status ReceiveSide::await_receives(Deadline& deadline) noexcept {
  // Acquire: the poll thread's last take happens before this thread's next one. Pairs with: resolve.
  if (unresolved_.load(std::memory_order_acquire) == 0) return Status::ok;
  const std::uint64_t start = now_ns();
  do {
    if (deadline.has_passed()) {
      // An interrupt resolves them too; a call without time says so even if the poll thread has not got so far.
      const Status why = session_->interruption(memory_.queue()).check();
      return why == Status::interrupted ? why : deadline.outcome(Status::empty);
    }
    std::this_thread::sleep_for(std::chrono::nanoseconds(nap_after(now_ns() - start)));
  } while (unresolved_.load(std::memory_order_acquire) != 0);
  return Status::ok;
}

bool ReceiveSide::enqueue_release(MessageState& state) noexcept {
  const bool captures = is_capturing(*state.view, state.stream);
  const CUresult result = captures ? CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED
                                   : enqueue_write(*state.view, state.stream, state.pinned->released, state.use);
  if (result == CUDA_SUCCESS) return true;
  const bool broken = !captures && is_broken(*state.view);  // if so, no kernel reads the message any more
  session_->log(LogLevel::error,
                describe(driver(), result, "cuStreamWriteValue64", memory_.object()) +
                    (broken ? "; " + why_broken(*state.view) + ": releases the message now"
                            : "; keeps the message until the consumer is closed: end messages outside of captures"));
  if (broken) state.pinned->released.store(state.use, std::memory_order_release);
  return broken;
}

void ReceiveSide::end(MessageState& state) noexcept {
  const auto keep = std::move(state.side);  // may be the last reference
  if (epoch_ != fork_epoch()) return;
  if (closed_) {  // close() has given the message back to its group
    state.message = {};
    const bool idle = !is_capturing(*state.view, state.stream) && query(*state.view, state.stream) == CUDA_SUCCESS;
    if (!idle) keep_for_ever(keep);  // the stream may still read the entry
    return;
  }
  // Without the lock, as in receive_ahead().
  if (!enqueue_release(state)) {
    keep_for_ever(keep);  // the stream may still read the entry, and no word will tell when it has
    return;
  }
  const std::scoped_lock lock(mutex_);
  releasing_.push_back(&state);
  moved_at_ = now_ns();
  if (waits_for_publication_) {  // the next publication may need the slot of this message
    roused_.store(true, std::memory_order_relaxed);
    core_->rouse_early();
  }
  poll_thread_->wake();
}

}  // namespace ipcq::detail
