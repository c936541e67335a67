// One visitor per struct names the fields once for both directions.
#include "control/stats_codec.hpp"

#include <cstring>
#include <type_traits>

#include "ipcq/error.hpp"

namespace ipcq::detail {
namespace {

class Writer {
 public:
  template <class T>
  void operator()(const T& value) {
    if constexpr (std::is_arithmetic_v<T>) {
      text_.append(reinterpret_cast<const char*>(&value), sizeof value);
    } else if constexpr (std::is_same_v<T, std::string>) {
      (*this)(static_cast<std::uint64_t>(value.size()));
      text_ += value;
    } else {
      visit(*this, value);
    }
  }
  template <class T>
  void operator()(const std::vector<T>& list) {
    (*this)(static_cast<std::uint64_t>(list.size()));
    for (const T& item : list) (*this)(item);
  }
  std::string take() { return std::move(text_); }

 private:
  std::string text_;
};

class Reader {
 public:
  explicit Reader(const std::string& text) : text_(text) {}
  template <class T>
  void operator()(T& value) {
    if constexpr (std::is_same_v<T, bool>) {
      const char byte = *next(1);
      if (byte != 0 && byte != 1) throw_damaged();  // a bool of any other byte has no meaning
      value = byte != 0;
    } else if constexpr (std::is_arithmetic_v<T>) {
      std::memcpy(&value, next(sizeof value), sizeof value);
    } else if constexpr (std::is_same_v<T, std::string>) {
      const std::size_t n = count();
      value.assign(next(n), n);
    } else {
      visit(*this, value);
    }
  }
  template <class T>
  void operator()(std::vector<T>& list) {
    list.resize(count());
    for (T& item : list) (*this)(item);
  }
  bool at_end() const { return at_ == text_.size(); }

 private:
  [[noreturn]] static void throw_damaged() {
    throw LayoutError("broker answer: damaged; use one release of libipcq throughout");
  }
  const char* next(std::size_t n) {
    if (n > text_.size() - at_) throw LayoutError("broker answer: cut short; use one release of libipcq throughout");
    at_ += n;
    return text_.data() + at_ - n;
  }
  std::size_t count() {
    std::uint64_t n = 0;
    (*this)(n);
    if (n > text_.size()) throw_damaged();
    return static_cast<std::size_t>(n);
  }
  const std::string& text_;
  std::size_t at_ = 0;
};

template <class Visitor, class S>
void visit_fields(Visitor& v, S& s, GroupStats*) {
  v(s.name), v(s.durable), v(s.lossy), v(s.members), v(s.joined_at), v(s.published), v(s.waiting), v(s.held);
  v(s.delivered), v(s.filtered), v(s.dropped), v(s.expired), v(s.dead_lettered), v(s.lost), v(s.redelivered),
      v(s.records);
}
template <class Visitor, class S>
void visit_fields(Visitor& v, S& s, EndpointStats*) {
  v(s.id), v(s.pid), v(s.uid), v(s.role), v(s.group), v(s.state), v(s.messages), v(s.records), v(s.bytes), v(s.held);
}
template <class Visitor, class S>
void visit_fields(Visitor& v, S& s, QueueStats*) {
  v(s.name), v(s.pool), v(s.handler), v(s.backend), v(s.executor), v(s.parked), v(s.backpressure), v(s.state);
  v(s.slots), v(s.slot_bytes), v(s.lines), v(s.line_bytes), v(s.inline_bytes), v(s.batch), v(s.published), v(s.records),
      v(s.tombstones), v(s.processed), v(s.handler_errors);
  v(s.publish_rate), v(s.empty), v(s.claimed), v(s.ready), v(s.inflight), v(s.done), v(s.reading), v(s.quarantined);
  v(s.producers_lost), v(s.blocked_by_pid), v(s.blocked_by_group), v(s.groups), v(s.endpoints);
}
template <class Visitor, class S>
void visit_fields(Visitor& v, S& s, BrokerStats*) {
  v(s.name), v(s.version), v(s.pid), v(s.uptime_ns), v(s.shm_bytes), v(s.abi), v(s.clients), v(s.deaths),
      v(s.runner_deaths), v(s.queues);
}
template <class Visitor, class S>
void visit(Visitor& v, S& s) {
  visit_fields(v, s, static_cast<std::remove_const_t<S>*>(nullptr));
}

}  // namespace

std::string encode(const BrokerStats& stats) {
  Writer w;
  w(stats);
  return w.take();
}

BrokerStats decode_stats(const std::string& text) {
  Reader r(text);
  BrokerStats stats;
  r(stats);
  if (!r.at_end()) throw LayoutError("broker answer: longer than expected; use one release of libipcq throughout");
  return stats;
}

}  // namespace ipcq::detail
