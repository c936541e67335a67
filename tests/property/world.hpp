// Two small queues that share a pool, in the library and in the reference model. Each operation is done in both, and
// statuses, messages and the broker's counters are compared.
#pragma once

#include <rapidcheck.h>

#include <list>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "reference_queue.hpp"

namespace ipcq {

inline constexpr std::uint32_t kSlots = 3;
inline constexpr std::uint32_t kAliases = 8 * kSlots;
inline constexpr std::size_t kSlotBytes = 256;

struct Op {
  std::uint8_t kind = 0;
  std::uint8_t a = 0;
  std::uint8_t b = 0;
};
std::ostream& operator<<(std::ostream& s, const Op& op);

class World {
 public:
  World(Backpressure first, Backpressure second, const std::vector<GroupOptions>& groups);

  void apply(const Op& op);
  // Expects that the broker's counters are those of the reference.
  void check();
  // Closes all endpoints, receives what durable groups have not taken, and expects that no slot is in use.
  void finish();

 private:
  struct Writer {
    unsigned q;
    std::uint32_t endpoint;
    Producer producer;
    std::uint64_t sequence = 0;
    std::vector<std::pair<Loan, std::shared_ptr<reference::Node>>> loans{};
  };
  struct Taken {
    Message message;
    reference::Held* held;
  };
  struct Reader {
    unsigned q;
    std::uint32_t endpoint;
    unsigned group;
    Until until;
    Consumer consumer;
    std::vector<Taken> taken{};
  };

  static std::string queue_name(std::size_t i) { return std::string("q").append(std::to_string(i)); }

  template <class F>
  void with_producer(const Op& op, F f) {
    if (!writers_.empty()) f(*std::next(writers_.begin(), op.a % writers_.size()));
  }
  template <class F>
  void with_consumer(const Op& op, F f) {
    if (!readers_.empty()) f(*std::next(readers_.begin(), op.a % readers_.size()));
  }

  std::vector<std::byte> payload(std::size_t length, std::uint64_t number);
  reference::Message message(Writer& w, std::uint64_t number, std::shared_ptr<reference::Node> node);

  void send(Writer& w, std::size_t length);
  void send_many(Writer& w, std::size_t count);
  void loan(Writer& w);
  void publish(Writer& w, std::uint8_t b);
  void drop_loan(Writer& w);

  void expect_same(const MessageView& m, const reference::Held& h);
  Status receive(Reader& r);
  void receive_many(Reader& r, std::size_t want);
  void receive_into(Reader& r);
  void consume(Reader& r, std::size_t want);
  template <class F>
  void with_taken(Reader& r, std::uint8_t b, F f) {
    if (r.taken.empty()) return;
    const auto it = r.taken.begin() + b % static_cast<std::ptrdiff_t>(r.taken.size());
    if (f(*it)) r.taken.erase(it);
  }
  void release(Reader& r, std::uint8_t b);
  void nack(Reader& r, std::uint8_t b);
  void forward(Reader& r, std::uint8_t b);

  void open_consumer(unsigned q, const std::string& group, bool lossy, Until until);
  void close(Reader& r);
  void open_producer(unsigned q);
  void close(Writer& w);

  Broker broker_;
  reference::Pool pool_;
  std::vector<std::unique_ptr<reference::Queue>> queues_;
  std::optional<Session> session_;
  std::list<Writer> writers_;
  std::list<Reader> readers_;
  std::uint64_t number_ = 0;
};

}  // namespace ipcq
