// One visitor per struct names the fields once for both directions.
#include "control/options_codec.hpp"

#include <chrono>
#include <initializer_list>

#include "control/fields.hpp"
#include "ipcq/error.hpp"

namespace ipcq::detail {

namespace {
constexpr const char* kWhat = "a client's options";

// A time, and a Wait, which has no field that could be written.
struct Times {
  std::int64_t handler_deadline = 0;
  std::int64_t spin_for = 0;
  Wait::Kind wait = Wait::Kind::hybrid;
};
}  // namespace

template <class Visitor, class S>
void visit_fields(Visitor& v, S& s, GroupOptions*) {
  v(s.name), v(s.policy), v(s.paused);
}
template <class Visitor, class S>
void visit_fields(Visitor& v, S& s, PoolOptions*) {
  v(s.slots), v(s.size), v(s.backend), v(s.device), v(s.mirror), v(s.metadata);
}
template <class Visitor, class S>
void visit_fields(Visitor& v, S& s, QueueOptions*) {
  v(s.slots), v(s.size), v(s.pool), v(s.lines), v(s.line), v(s.batch);
  v(s.handler), v(s.defines), v(s.includes), v(s.quick_start), v(s.state_bytes), v(s.state_file), v(s.isolate);
  v(s.backend), v(s.device), v(s.mirror), v(s.host_readable), v(s.executor), v(s.threads);
  v(s.backpressure), v(s.groups), v(s.paused), v(s.endpoints), v(s.held), v(s.calls), v(s.on_server_death);
  v(s.metadata), v(s.schema), v(s.result_schema);
}

namespace {

template <class Visitor>
void visit_times(Visitor& v, Times& t) {
  v(t.handler_deadline), v(t.spin_for), v(t.wait);
}

template <class Enum>
void check_at_most(Enum value, Enum last) {
  if (value > last) throw LayoutError(std::string(kWhat) + ": damaged; use one release of libipcq throughout");
}

Wait wait_of(const Times& t) {
  check_at_most(t.wait, Wait::Kind::sleep);
  if (t.wait == Wait::Kind::spin) return Wait::spin();
  return t.wait == Wait::Kind::sleep ? Wait::sleep() : Wait::hybrid(Timeout(std::chrono::nanoseconds(t.spin_for)));
}

}  // namespace

std::string encode(const QueueOptions& options) {
  FieldWriter w;
  w(options);
  Times t{options.handler_deadline.count(), options.wait.spin_for().count(), options.wait.kind()};
  visit_times(w, t);
  return w.take();
}

std::string encode(const PoolOptions& options) {
  FieldWriter w;
  w(options);
  return w.take();
}

QueueOptions decode_queue_options(const std::string& text) {
  FieldReader r(text, kWhat);
  QueueOptions o;
  Times t;
  r(o);
  visit_times(r, t);
  r.finish();
  o.handler_deadline = Timeout(std::chrono::nanoseconds(t.handler_deadline));
  o.wait = wait_of(t);
  check_at_most(o.batch, Batch::records);
  check_at_most(o.mirror, Mirror::full);
  check_at_most(o.executor, ExecutorKind::stream);
  check_at_most(o.on_server_death, OnServerDeath::redeliver);
  check_at_most(o.backpressure, Backpressure::drop_oldest);
  for (const GroupOptions& g : o.groups) check_at_most(g.policy, GroupPolicy::lossy);
  return o;
}

PoolOptions decode_pool_options(const std::string& text) {
  FieldReader r(text, kWhat);
  PoolOptions o;
  r(o);
  r.finish();
  check_at_most(o.mirror, Mirror::full);
  return o;
}

}  // namespace ipcq::detail
