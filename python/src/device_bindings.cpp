#include "device_bindings.hpp"

#include <nanobind/stl/string.h>

#include <array>
#include <ipcq/error.hpp>
#include <optional>
#include <vector>

#include "consumer.hpp"
#include "device_message.hpp"
#include "driver.hpp"
#include "errors.hpp"
#include "producer.hpp"
#include "shown.hpp"
#include "waiting.hpp"

namespace ipcq::python {
namespace {

using namespace nb::literals;

// The event of an endpoint, made with its first payload.
std::shared_ptr<StreamOrder> order_of(EndpointState& endpoint, int device) {
  ensure_context(device);
  const Turn::Taken taken(endpoint.turn());
  if (endpoint.device_side() == nullptr) endpoint.device_side() = std::make_shared<StreamOrder>();
  auto order = std::static_pointer_cast<StreamOrder>(endpoint.device_side());
  order->prepare();
  return order;
}

DeviceMessage receive_on(ConsumerObject& self, nb::object stream, nb::handle timeout, int device) {
  const Patience patience(timeout);
  ConsumerState& state = self.state();
  state.check_owner();
  auto order = order_of(state, device);
  DeviceUse use(parse_stream(stream), stream);
  const Held guard(state);
  Result<cuda::Message> message = wait_for(state.turn(), patience, false, [&](Duration left) {
    return cuda::receive(state.consumer(), use.stream(), left);
  });
  if (!message) throw_status(message.status(), {state.where(), "receive", patience.seconds()});
  return {self.shared(), std::move(order), std::move(use), std::move(*message)};
}

DeviceLoan loan_on(ProducerObject& self, nb::object stream, nb::handle timeout, nb::handle shape, nb::handle dtype,
                   int device) {
  const Patience patience(timeout);
  ProducerState& state = self.state();
  state.check_owner();
  std::optional<ArrayLayout> layout;
  if (!shape.is_none()) {
    layout = ArrayLayout::contiguous(parse_dtype(dtype), parse_shape(shape));
    const Turn::Taken taken(state.turn());
    if (state.producer().metadata_bytes() < sizeof(Tensor))
      throw UsageError(
          state.where() +
          ": its messages have no room for an array's shape and element type: create it with metadata=128");
  }
  auto order = order_of(state, device);
  DeviceUse use(parse_stream(stream), stream);
  const Held guard(state);
  Result<cuda::Loan> loan = wait_for(state.turn(), patience, false,
                                     [&](Duration left) { return cuda::loan(state.producer(), use.stream(), left); });
  if (!loan) throw_status(loan.status(), {state.where(), "loan", patience.seconds()});
  DeviceLoan slot(self.shared(), std::move(order), std::move(use), std::move(*loan));
  if (layout) {
    if (layout->bytes() > slot.loan().capacity()) throw_status(Status::too_large, {state.where(), "loan"});
    slot.set_array(*layout);
  }
  return slot;
}

template <class Class, class Object>
void bind_arrays(Class& of) {
  bind_dlpack<Object>(
      of,
      [](Object& object, nb::handle self, nb::handle stream, const DlpackRequest& request) {
        return object.to_dlpack(self, stream, request);
      },
      [](const Object& object) {
        return dlpack::Device{dlpack::kCuda, object.device()};
      },
      "For torch.from_dlpack() and its kin. Work on `stream` comes behind the payload, and the payload's end behind\n"
      "that work.");
  of.def_prop_ro("__cuda_array_interface__", &Object::array_interface,
                 nb::sig("def __cuda_array_interface__(self) -> dict[str, object]"),
                 "Version 3, for cupy.asarray() and numba.cuda.as_cuda_array(). It does not tell when its consumer is\n"
                 "done: use the arrays on the stream that was passed, and drop them before the end.");
}

void bind_device_message(nb::module_& m) {
  auto of = nb::class_<DeviceMessage>(
      m, "DeviceMessage", nb::is_final(),
      "A received message for the work of one stream: torch.from_dlpack(m), cupy.asarray(m). That work\n"
      "waits for the payload, and the message's end comes behind it; the CPU waits for neither.\n"
      "As a context manager it is released at the end.");
  bind_arrays<decltype(of), DeviceMessage>(of);
  of.def("__enter__",
         [](nb::object self) {
           nb::cast<DeviceMessage&>(self).check_held();
           return self;
         })
      .def(
          "__exit__",
          [](DeviceMessage& self, nb::handle type, nb::handle, nb::handle) {
            if (!self.is_held()) return;
            if (type.is_none()) {
              self.release();
            } else {
              self.release_after_views();
            }
          },
          "type"_a.none(), "value"_a.none(), "traceback"_a.none())
      .def("release", &DeviceMessage::release,
           "Enqueues the release behind the work of the streams that use it. Raises BufferError: arrays that were made "
           "of\n"
           "it by DLPack are alive. Without effect after detach().")
      .def(
          "detach",
          [](nb::object self) {
            nb::cast<DeviceMessage&>(self).detach();
            return self;
          },
          "From now on it is released with the last array that was made of it by DLPack. Returns the message itself.")
      .def_prop_ro("held", &DeviceMessage::is_held, "Whether it is still held: arrays of it can be made.")
      .def_prop_ro(
          "status", [](const DeviceMessage& self) { return status_object(self.message().status()); },
          nb::sig("def status(self) -> ipcq._errors.Status"),
          "Once the stream has passed the receive: OK, or PEER_DEAD where the payload will never be\n"
          "complete. Before that, OK means that it may still be incomplete.")
      .def_prop_ro(
          "nbytes", [](const DeviceMessage& self) { return self.message().length(); }, "Size of the payload in bytes.")
      .def("__len__", [](const DeviceMessage& self) { return self.message().length(); })
      .def_prop_ro(
          "shape",
          [](DeviceMessage& self) {
            self.check_held();
            return shape_of(self.layout());
          },
          nb::sig("def shape(self) -> tuple[int, ...]"),
          "Of the array that was sent, in elements; of bytes, their number.")
      .def_prop_ro(
          "dtype",
          [](DeviceMessage& self) {
            self.check_held();
            return name_of(self.layout().dtype);
          },
          "Name of the elements' type, such as 'float32'; 'uint8' of bytes.")
      .def_prop_ro(
          "metadata",
          [](const DeviceMessage& self) {
            self.check_held();
            const auto metadata = self.message().metadata();
            return nb::bytes(metadata.data(), metadata.size());
          },
          "A copy of what the producer has put beside the payload; empty: nothing.")
      .def_prop_ro(
          "address",
          [](const DeviceMessage& self) {
            self.check_held();
            return reinterpret_cast<std::uintptr_t>(self.message().device());
          },
          "Of the payload on the device.")
      .def_prop_ro(
          "sequence", [](const DeviceMessage& self) { return self.message().sequence(); },
          "Number of this message among those of its producer, from 0.")
      .def_prop_ro(
          "producer", [](const DeviceMessage& self) { return self.message().producer(); },
          "Id of the producer, unique while it is attached.")
      .def_prop_ro(
          "ticket", [](const DeviceMessage& self) { return self.message().ticket(); },
          "Place in the queue's order: grows by one a message.")
      .def_prop_ro(
          "published_at_ns", [](const DeviceMessage& self) { return self.message().published_at_ns(); },
          "When it was published, in ns of time.monotonic_ns(); 0 of a message that needed no slot.")
      .def("__repr__", [](const DeviceMessage& self) {
        const std::string text = "<ipcq.DeviceMessage of '" + self.consumer().queue() + "', ";
        if (!self.is_held()) return text + "not held>";
        return text + std::to_string(self.message().length()) + " bytes on GPU " + std::to_string(self.device()) + ">";
      });
}

void bind_device_loan(nb::module_& m) {
  auto of = nb::class_<DeviceLoan>(
      m, "DeviceLoan", nb::is_final(),
      "A slot in device memory, to be written by the work of one stream: torch.from_dlpack(slot).copy_(x).\n"
      "publish() enqueues behind that work, and waits for nothing on the GPU. A loan that is not\n"
      "published goes back when its `with` ends, or when Python drops it.");
  bind_arrays<decltype(of), DeviceLoan>(of);
  of.def("publish", &DeviceLoan::publish, "length"_a.none() = nb::none(), "timeout"_a.none() = nb::none(),
         nb::sig("def publish(self, length: int | None = None, timeout: float | None = None) -> None"),
         "Publishes the first `length` bytes (None: the array, or the whole slot) with the contents that they have "
         "when the\n"
         "streams that wrote them reach this point. Waits on the CPU for a free line alone. Raises as Loan.publish().")
      .def("set_metadata", &DeviceLoan::set_metadata, "data"_a,
           nb::sig("def set_metadata(self, data: BufferLike) -> None"), "As Loan.set_metadata().")
      .def("__enter__",
           [](nb::object self) {
             nb::cast<DeviceLoan&>(self).check_held();
             return self;
           })
      .def("__exit__", [](DeviceLoan& self, nb::args) { self.give_back(); })
      .def_prop_ro("held", &DeviceLoan::is_held, "Whether it can be written and published.")
      .def_prop_ro(
          "nbytes", [](const DeviceLoan& self) { return self.loan().capacity(); }, "Capacity of the slot in bytes.")
      .def("__len__", [](const DeviceLoan& self) { return self.loan().capacity(); })
      .def_prop_ro(
          "address",
          [](const DeviceLoan& self) {
            self.check_held();
            return reinterpret_cast<std::uintptr_t>(self.loan().device());
          },
          "Of the slot on the device.")
      .def("__repr__", [](const DeviceLoan& self) {
        const std::string text = "<ipcq.DeviceLoan of '" + self.producer().queue() + "', ";
        if (!self.is_held()) return text + "ended>";
        return text + std::to_string(self.loan().capacity()) + " bytes on GPU " + std::to_string(self.device()) + ">";
      });
}

std::size_t device_count() {
  int count = 0;
  ipcq::detail::check_cuda(ipcq::detail::driver().cuDeviceGetCount(&count), "cuDeviceGetCount", "GPUs");
  return static_cast<std::size_t>(count);
}

// Name, bytes of memory, compute capability, multiprocessors, the driver's CUDA version.
nb::tuple describe_device(int index) {
  const auto& cu = ipcq::detail::driver();
  const std::string what = "GPU " + std::to_string(index);
  CUdevice device = 0;
  ipcq::detail::check_cuda(cu.cuDeviceGet(&device, index), "cuDeviceGet", what);
  std::array<char, 256> name{};
  ipcq::detail::check_cuda(cu.cuDeviceGetName(name.data(), static_cast<int>(name.size()) - 1, device),
                           "cuDeviceGetName", what);
  std::size_t memory = 0;
  ipcq::detail::check_cuda(cu.cuDeviceTotalMem(&memory, device), "cuDeviceTotalMem", what);
  const auto attribute = [&](CUdevice_attribute which) {
    int value = 0;
    ipcq::detail::check_cuda(cu.cuDeviceGetAttribute(&value, which, device), "cuDeviceGetAttribute", what);
    return value;
  };
  return nb::make_tuple(name.data(), memory,
                        nb::make_tuple(attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR),
                                       attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)),
                        attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT),
                        nb::make_tuple(cu.version / 1000, cu.version % 1000 / 10));
}

}  // namespace

void bind_device(nb::module_& m) {
  bind_device_message(m);
  bind_device_loan(m);
  m.def("device_count", device_count);
  m.def("describe_device", describe_device, "index"_a,
        nb::sig("def describe_device(index: int) -> tuple[str, int, tuple[int, int], int, tuple[int, int]]"));
  m.def("receive_on", receive_on, "consumer"_a, "stream"_a.none(), "timeout"_a.none(), "device"_a,
        nb::sig(
            "def receive_on(consumer: Consumer, stream: object, timeout: float | None, device: int) -> DeviceMessage"));
  m.def("loan_on", loan_on, "producer"_a, "stream"_a.none(), "timeout"_a.none(), "shape"_a.none(), "dtype"_a,
        "device"_a,
        nb::sig("def loan_on(producer: Producer, stream: object, timeout: float | None, shape: Sequence[int] | None, "
                "dtype: object, device: int) -> DeviceLoan"));
}

}  // namespace ipcq::python
