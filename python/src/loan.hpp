// ipcq.Loan: a slot that Python fills.
#pragma once

#include <nanobind/nanobind.h>

#include <ipcq/producer.hpp>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "array_layout.hpp"
#include "dlpack.hpp"
#include "lifetime.hpp"

namespace ipcq::python {

class ProducerState final : public EndpointState {
 public:
  ProducerState(std::shared_ptr<SessionState> session, std::string queue, Producer producer)
      : EndpointState(std::move(session), std::move(queue)), producer_(std::move(producer)) {}
  ~ProducerState() override;  // breaks it off if it was not closed, with a ResourceWarning

  Producer& producer() noexcept { return producer_; }

 private:
  void end(bool broken_off) noexcept override;
  void forget() noexcept override { producer_ = Producer(); }

  Producer producer_;
};

class LoanObject {
 public:
  // `owner`: a producer, or a client, whose loans become requests.
  LoanObject(std::shared_ptr<EndpointState> owner, Loan loan)
      : owner_(std::move(owner)), held_(*owner_), loan_(std::move(loan)) {}
  LoanObject(LoanObject&&) noexcept = default;
  LoanObject& operator=(LoanObject&&) = delete;
  ~LoanObject();

  EndpointState& owner() const noexcept { return *owner_; }
  Loan& loan() noexcept { return loan_; }
  const Loan& loan() const noexcept { return loan_; }
  bool is_held() const noexcept {
    return !is_going_ && !goes_back_ && !owner_->is_closed() && !owner_->is_inherited() && !loan_.bytes().empty();
  }
  // Throws UsageError if it was published or went back.
  void check_held() const;
  // Makes it ready to go, for `call`: an array's shape is put where it belongs. Returns how many bytes go. Throws
  // UsageError as above; BufferError while views of it are alive; ValueError for a length that cuts an array off.
  std::size_t prepare(const char* call, nb::handle length);

  // Shows it as an array, which travels with it.
  void set_layout(const ArrayLayout& layout) { layout_ = layout; }
  const std::optional<ArrayLayout>& layout() const noexcept { return layout_; }
  std::size_t array_end() const noexcept { return layout_ ? layout_->at + layout_->bytes() : loan_.bytes().size(); }
  // Now, or with its last view.
  void give_back() noexcept;
  // While another step works on it without the GIL: it may be published or written by that alone, and views cannot
  // begin.
  class Going {
   public:
    explicit Going(LoanObject& loan) noexcept : loan_(loan) { loan.is_going_ = true; }
    Going(const Going&) = delete;
    Going& operator=(const Going&) = delete;
    ~Going() {
      loan_.is_going_ = false;
      if (loan_.loan_.bytes().empty()) loan_.held_.end();  // it has gone
    }

   private:
    LoanObject& loan_;
  };
  // Copies into it; a view meanwhile.
  void write(std::span<const std::byte> from, std::size_t at);
  void fill(const Array& from, std::size_t at, std::size_t bytes);

  int get_buffer(Py_buffer* view, PyObject* self, int flags) noexcept;
  nb::object to_dlpack(nb::handle self, const DlpackRequest& request);
  void begin_view() noexcept;
  void release_buffer() noexcept;

 private:
  void end() noexcept;
  ArrayLayout& shown();  // which stays as it is
  void check_no_views(const char* call) const;

  std::shared_ptr<EndpointState> owner_;
  Held held_;
  Loan loan_;
  std::optional<ArrayLayout> layout_;  // of an array
  std::optional<ArrayLayout> bytes_;   // of one that is none, once it was viewed
  std::size_t views_ = 0;
  bool goes_back_ = false;
  bool is_going_ = false;
};

void bind_loan(nb::module_& m);

}  // namespace ipcq::python
