// Load on a queue with the handler `invert`, and the fixture of tests that run once per executor.
#pragma once

#include "device_queues/gpu_test.hpp"

namespace ipcq_test {

inline constexpr std::byte kInvert{0xff};

// Sends and receives stamped messages through an inverting queue, in threads of its own, until it is stopped.
class Traffic {
 public:
  Traffic(Session& session, const std::string& queue, std::size_t max_bytes, Wait wait = Wait::hybrid())
      : max_bytes_(max_bytes),
        consumer_(session.consumer(queue, {.wait = wait, .until = Until::end})),
        producer_(session.producer(queue, {.wait = wait})),
        receiving_([this] { receive(); }),
        sending_([this] { send(); }) {}
  ~Traffic() { end(); }

  void end() {
    stop_ = true;
    if (sending_.joinable()) sending_.join();
    if (receiving_.joinable()) receiving_.join();
  }
  std::uint64_t received() const { return received_; }
  std::uint64_t sent() const { return sent_; }
  std::uint64_t wrong() const {
    return wrong_;
  }  // out of order, doubled or with wrong bytes; gaps: received() < sent()
  Status sender_ended() const { return send_status_.load(); }
  Status receiver_ended() const { return receive_status_.load(); }

 private:
  void send() {
    for (std::uint64_t n = 0; !stop_; ++n) {
      // In turn: an inline message, one for a single worker block, one for all.
      const std::size_t bytes = n % 3 == 0 ? 40 : n % 3 == 1 ? std::min<std::size_t>(max_bytes_, 3000) : max_bytes_;
      const Status s = producer_.send(stamped(1, n, bytes), kBound);
      send_status_.store(s);
      if (s != Status::ok) break;
      ++sent_;
    }
    producer_.close();
  }
  void receive() {
    std::vector<std::byte> copy;
    for (std::uint64_t next = 0;;) {
      auto m = consumer_.receive(kBound);
      receive_status_.store(m.status());
      if (!m) break;
      copy.assign(m->bytes().begin(), m->bytes().end());
      for (auto& b : copy) b ^= kInvert;
      const auto s = read_stamp(copy);
      if (!s || s->sequence < next || !m->processed()) ++wrong_;
      if (s) next = s->sequence + 1;
      ++received_;
    }
    consumer_.close();
  }

  const std::size_t max_bytes_;
  Consumer consumer_;
  Producer producer_;
  std::atomic<bool> stop_{false};
  std::atomic<std::uint64_t> sent_{0}, received_{0}, wrong_{0};
  std::atomic<Status> send_status_{Status::ok}, receive_status_{Status::ok};
  std::thread receiving_, sending_;
};

class PerExecutor : public GpuTest, public testing::WithParamInterface<ExecutorKind> {
 protected:
  static QueueOptions on_gpu(const char* handler) { return GpuTest::on_gpu(handler, GetParam()); }
};
inline const auto kBoth = testing::Values(ExecutorKind::persistent, ExecutorKind::stream);
inline std::string executor_name(const testing::TestParamInfo<ExecutorKind>& info_) { return name_of(info_.param); }

}  // namespace ipcq_test
