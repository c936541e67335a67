#include "loan.hpp"

#include <nanobind/stl/string.h>

#include <cstring>
#include <ipcq/error.hpp>

#include "errors.hpp"
#include "interpreter.hpp"
#include "shown.hpp"
#include "waiting.hpp"

namespace ipcq::python {
namespace {

using namespace nb::literals;

void check(const LoanObject& self, Status status, const char* call, double timeout = -1) {
  if (status != Status::ok) throw_status(status, {self.owner().where(), call, timeout});
}

void publish(LoanObject& self, nb::handle length, nb::handle timeout) {
  const Patience patience(timeout);
  EndpointState& owner = self.owner();
  owner.check_owner();
  if (dynamic_cast<ProducerState*>(&owner) == nullptr)
    throw UsageError(owner.where() + ": this is a client's loan: Client.call(loan) sends it");
  const std::size_t bytes = self.prepare("publish", length);
  const LoanObject::Going going(self);
  const Status status =
      wait_for(owner.turn(), patience, false, [&](Duration left) { return self.loan().publish(bytes, left); });
  check(self, status, "publish", patience.seconds());
}

void write(LoanObject& self, nb::handle data, std::size_t offset) {
  self.check_held();
  const Bytes from(data);
  const auto to = self.loan().bytes();
  if (offset > to.size() || from.bytes().size() > to.size() - offset) check(self, Status::too_large, "write");
  self.write(from.bytes(), offset);
}

void set_metadata(LoanObject& self, nb::handle data) {
  self.check_held();
  const Bytes bytes(data);
  const Turn::Taken taken(self.owner().turn());
  check(self, self.loan().set_metadata(bytes.bytes()), "set_metadata");
}

}  // namespace

LoanObject::~LoanObject() {
  leave_to_the_process(loan_);
  if (owner_ == nullptr || loan_.bytes().empty() || owner_->is_left_alone()) return;
  end();
}

void LoanObject::check_held() const {
  owner_->check_owner();
  if (!is_held())
    throw UsageError(owner_->where() +
                     ": the loan was published, went back to the pool, or is being published by another thread, or its "
                     "producer is closed");
}

void LoanObject::check_no_views(const char* call) const {
  if (views_ == 0) return;
  throw nb::buffer_error((owner_->where() + ": " + call + ": " + count_views(views_) +
                          " alive of the slot, and could write to a message that others read: delete the "
                          "arrays that were made of it first")
                             .c_str());
}

std::size_t LoanObject::prepare(const char* call, nb::handle length) {
  check_held();
  check_no_views(call);
  const std::size_t bytes = length.is_none() ? array_end() : parse_size(length, "length");
  if (!layout_) return bytes;
  if (bytes < array_end()) throw nb::value_error("length: an array goes whole; leave it out");
  const Tensor tensor = layout_->tensor();
  const Turn::Taken taken(owner_->turn());
  if (layout_->at != 0) {
    std::memcpy(loan_.bytes().data(), &tensor, sizeof tensor);
  } else {
    (void)loan_.set_metadata(std::as_bytes(std::span(&tensor, 1)));
  }
  return bytes;
}

void LoanObject::give_back() noexcept {
  if (goes_back_ || is_going_ || loan_.bytes().empty() || owner_->is_left_alone()) return;
  if (views_ == 0) {
    end();
  } else {
    goes_back_ = true;
  }
}

void LoanObject::end() noexcept {
  {
    const Turn::Taken taken(owner_->turn());
    const Loan ended = std::move(loan_);
  }
  held_.end();
}

void LoanObject::fill(const Array& from, std::size_t at, std::size_t bytes) {
  const ViewGuard view(*this);
  from.copy_to(loan_.bytes().subspan(at, bytes));
}

void LoanObject::write(std::span<const std::byte> from, std::size_t at) {
  const ViewGuard view(*this);
  const ReleasedGil released;
  std::memcpy(loan_.bytes().data() + at, from.data(), from.size());
}

int LoanObject::get_buffer(Py_buffer* view, PyObject* self, int flags) noexcept {
  view->obj = nullptr;
  if (!is_held()) return refuse_buffer(view, "the loan was published, or went back to the pool");
  const int result = fill_buffer(view, self, loan_.bytes().data(), shown(), false, flags);
  if (result == 0) begin_view();
  return result;
}

ArrayLayout& LoanObject::shown() {
  if (layout_) return *layout_;
  if (!bytes_) bytes_ = ArrayLayout::of_bytes(loan_.bytes().size());
  return *bytes_;
}

nb::object LoanObject::to_dlpack(nb::handle self, const DlpackRequest& request) {
  check_held();
  nb::object capsule = export_dlpack(
      self, [](PyObject* owner) { nb::inst_ptr<LoanObject>(owner)->release_buffer(); }, loan_.bytes().data(), shown(),
      {}, false, request);
  begin_view();
  return capsule;
}

void LoanObject::begin_view() noexcept {
  ++views_;
  owner_->begin_view();
}

void LoanObject::release_buffer() noexcept {
  if (--views_ == 0 && goes_back_ && !owner_->is_left_alone()) end();
  owner_->end_view();
}

void bind_loan(nb::module_& m) {
  auto of = nb::class_<LoanObject>(
      m, "Loan", nb::type_slots(buffer_slots<LoanObject>()), nb::is_final(),
      "A slot on loan, to be written in place: numpy.asarray(slot) and memoryview(slot) show it,\n"
      "writable, with contents that are unspecified. publish() makes it a message. A loan that is not\n"
      "published goes back to the pool when its `with` ends, or when Python drops it.");
  bind_host_arrays<LoanObject>(of);
  of.def("publish", publish, "length"_a.none() = nb::none(), "timeout"_a.none() = nb::none(),
         nb::sig("def publish(self, length: int | None = None, timeout: float | None = None) -> None"),
         "Publishes the first `length` bytes (None: the array, or the whole slot) as one message, which takes its "
         "place\n"
         "in the queue's order now. Waits for a free line as Producer.send(). Raises as that, and the loan stays;\n"
         "BufferError: views of it are alive; UsageError: it was published.")
      .def("write", write, "data"_a, "offset"_a = 0,
           nb::sig("def write(self, data: BufferLike, offset: int = 0) -> None"),
           "Copies a buffer's bytes into the slot, from `offset` on. Raises StatusError (too_large).")
      .def("set_metadata", set_metadata, "data"_a, nb::sig("def set_metadata(self, data: BufferLike) -> None"),
           "Gives the message a copy of these bytes beside its payload. The last call counts. Raises StatusError\n"
           "(too_large): more than the queue's `metadata`.")
      .def("__enter__",
           [](nb::object self) {
             nb::cast<LoanObject&>(self).check_held();
             return self;
           })
      .def(
          "__exit__", [](LoanObject& self, nb::args) { self.give_back(); },
          "Gives the slot back if it was not published.")
      .def("__len__", [](const LoanObject& self) { return self.loan().bytes().size(); })
      .def_prop_ro("held", &LoanObject::is_held, "Whether it can be written and published.")
      .def_prop_ro(
          "nbytes", [](const LoanObject& self) { return self.loan().bytes().size(); }, "Capacity of the slot in bytes.")
      .def("__repr__", [](const LoanObject& self) {
        const std::string text = "<ipcq.Loan of '" + self.owner().queue() + "', ";
        return self.is_held() ? text + std::to_string(self.loan().bytes().size()) + " bytes>" : text + "ended>";
      });
}

}  // namespace ipcq::python
