#include "message_iterator.hpp"

#include "errors.hpp"
#include "receiving.hpp"

namespace ipcq::python {

using namespace nb::literals;

nb::object MessageIterator::next() {
  step_.end();
  static const Patience forever{nb::none()};
  const Held guard(*consumer_);
  Result<Message> message = receive_message(*consumer_, forever);
  if (message.status() == Status::end) throw nb::stop_iteration();
  if (!message) throw_status(message.status(), {consumer_->where(), "iteration"});
  nb::object next = nb::cast(MessageObject(consumer_, std::move(*message)));
  step_.begin(next);
  return next;
}

void bind_iterator(nb::module_& m) {
  nb::class_<MessageIterator>(m, "MessageIterator", nb::is_final(), "Iterates over a consumer's messages.")
      .def(
          "__iter__", [](nb::object self) { return self; }, nb::sig("def __iter__(self) -> MessageIterator"))
      .def("__next__", &MessageIterator::next, nb::sig("def __next__(self) -> Message"));
  nb::class_<LoopStep>(m, "LoopStep", nb::is_final(), "For iterators in Python: what has the message of a loop's step.")
      .def(nb::init<>())
      .def("end", &LoopStep::end, "Before the next is asked for.")
      .def(
          "begin",
          [](LoopStep& self, nb::object message) {
            (void)nb::cast<MessageObject&>(message);  // checks its type
            self.begin(std::move(message));
          },
          "message"_a, nb::sig("def begin(self, message: Message) -> None"));
}

}  // namespace ipcq::python
