// After the user's file: which type is the handler, and whether it can be one, on a GPU as on the host. The messages
// are for the file's author. Names that macros of that file may have are avoided. What includes this has declared
// ipcq_compiler::TeamOf, the team with which a type of handler is called there.
#pragma once

#include "device/c_handler.hpp"
#include "ipcq/handler.hpp"
#include "layout/handler_arguments.hpp"

namespace ipcq_compiler {
struct NoHandler {};
}  // namespace ipcq_compiler
// What IPCQ_HANDLER has declared for `int` is the better match.
template <class IpcqAny>
ipcq_compiler::NoHandler ipcq_handler_of_this_file(IpcqAny);

// The same for the visit of parameters.
template <class IpcqAny, class IpcqVisitor>
IPCQ_HOST_DEVICE void ipcq_visit_parameters(IpcqAny&, IpcqVisitor&) {}

namespace ipcq_compiler {

template <class IpcqH, bool ipcq_has_c_function>
struct Found {
  using IpcqType = IpcqH;
  static constexpr bool named_twice = ipcq_has_c_function;
};
template <>
struct Found<NoHandler, true> {
  using IpcqType = CHandler;
  static constexpr bool named_twice = false;
};
using InFile = Found<decltype(::ipcq_handler_of_this_file(0)), has_c_function>;
using Handler = InFile::IpcqType;
template <class IpcqH>
constexpr bool is_named = true;
template <>
constexpr bool is_named<NoHandler> = false;
template <class IpcqA, class IpcqB>
constexpr bool is_same = false;
template <class IpcqA>
constexpr bool is_same<IpcqA, IpcqA> = true;
template <class IpcqH>
concept Accepts = !requires {
  &IpcqH::accepts;
}
|| requires(const IpcqH& ipcq_handler, unsigned long ipcq_length) {
  static_cast<bool>(ipcq_handler.accepts(ipcq_length));
};
template <auto>
struct Constant;
template <class IpcqH>
concept ConstantSharing = !requires {
  &IpcqH::sharing;
}
|| requires { typename Constant<IpcqH::sharing>; };
template <class IpcqH>
concept ConstantScratch = !requires {
  &IpcqH::scratch_bytes;
}
|| requires { typename Constant<IpcqH::scratch_bytes>; };
template <class IpcqH>
concept ConstantHeavy = !requires {
  &IpcqH::heavy;
}
|| requires { typename Constant<IpcqH::heavy>; };
template <class IpcqH>
concept ConstantConcurrent = !requires {
  &IpcqH::concurrent;
}
|| requires { typename Constant<IpcqH::concurrent>; };
template <class IpcqH>
concept SaysHow = ConstantSharing<IpcqH> && ConstantScratch<IpcqH> && ConstantHeavy<IpcqH> && ConstantConcurrent<IpcqH>;

template <class IpcqH>
concept TakesBytes = requires(const IpcqH& ipcq_handler, std::byte* ipcq_data, unsigned long ipcq_length,
                              const ipcq_compiler::TeamOf<IpcqH>& ipcq_team) {
  IpcqH();
  ipcq_handler(ipcq_data, ipcq_length, ipcq_team);
};
template <class IpcqH>
concept TakesMessage = requires(const IpcqH& ipcq_handler, ipcq::HandlerMessage& ipcq_message,
                                const ipcq_compiler::TeamOf<IpcqH>& ipcq_team) {
  IpcqH();
  ipcq_handler(ipcq_message, ipcq_team);
};
template <class IpcqH>
concept WithState = requires {
  IpcqH();
}
&&ipcq::handlers::TakesState<IpcqH, ipcq_compiler::TeamOf<IpcqH>>;
template <class IpcqH>
concept Callable = TakesBytes<IpcqH> || TakesMessage<IpcqH> || WithState<IpcqH>;
template <class IpcqH>
concept Usable = SaysHow<IpcqH> && Accepts<IpcqH> && Callable<IpcqH>;
// Asked only of one that says how: the team depends on it.
template <class IpcqH>
concept CallableAsItSays = !SaysHow<IpcqH> || Callable<IpcqH>;
template <class IpcqH>
constexpr bool scratch_fits = true;
template <SaysHow IpcqH>
constexpr bool scratch_fits<IpcqH> = ipcq::handlers::scratch_bytes_of<IpcqH>() <= ipcq::handlers::kMostScratchBytes;

static_assert(is_named<Handler>,
              "the file names no handler: IPCQ_HANDLER(Type) is missing, or stands in a namespace; and it has no "
              "extern \"C\" int ipcq_handle(void* data, uint64_t length, const struct ipcq_context* context)");
static_assert(!InFile::named_twice, "the file has two handlers: IPCQ_HANDLER names one, and ipcq_handle() is another");
static_assert(
    !is_named<Handler> || Accepts<Handler>,
    "the handler's accepts is public, and either static constexpr or const: bool accepts(std::uint64_t length)");
static_assert(SaysHow<Handler>, "the handler's sharing, scratch_bytes, heavy and concurrent are static constexpr");
static_assert(
    !is_named<Handler> || CallableAsItSays<Handler>,
    "the handler needs, public: template <class Team> IPCQ_HOST_DEVICE void operator()(std::byte* data, "
    "std::uint64_t length, Team team) const, or the same of (ipcq::HandlerMessage& message, Team team), by reference; "
    "with state, a parameter ipcq::State behind the team; and a constructor without arguments");
static_assert(scratch_fits<Handler>, "the handler's scratch_bytes are 16384 at most");

static_assert(!is_named<Handler> || __is_trivially_copyable(Handler),
              "a handler is plain data: its members are its parameters, or constants, and it is copied byte by byte");

// Else kernels or table would repeat in their words what is said above.
struct Stub {
  static constexpr bool accepts(unsigned long) { return false; }
  template <class IpcqTeam>
  void operator()(std::byte*, unsigned long, IpcqTeam) const {}
};
template <bool ipcq_usable>
struct Choice {
  using IpcqType = Stub;
};
template <>
struct Choice<true> {
  using IpcqType = Handler;
};
using Chosen = Choice<Usable<Handler>>::IpcqType;

// Instantiates the handler's functions before kernels or table do: messages about them do not name these.
inline void call_once(ipcq::HandlerMessage& ipcq_message, const TeamOf<Chosen>& ipcq_team) {
  ipcq::handlers::call(Chosen{}, ipcq_message, ipcq_team, ipcq::State{});
}

// Visits the parameters of the chosen handler; a stub has none.
struct Visit {
  template <class IpcqH, class IpcqVisitor>
  IPCQ_HOST_DEVICE void operator()(IpcqH& ipcq_handler, IpcqVisitor& ipcq_visitor) const {
    ::ipcq_visit_parameters(ipcq_handler, ipcq_visitor);
  }
};

// The same for the parameters.
struct CheckParameter {
  template <class IpcqT>
  IPCQ_HOST_DEVICE void operator()(const char*, IpcqT&) const {
    static_assert(ipcq::detail::kIsInteger<IpcqT> || is_same<IpcqT, float> || is_same<IpcqT, double>,
                  "a handler's parameter is a bool, an integer, a float or a double");
  }
};
inline void visit_once(Chosen& ipcq_handler) {
  CheckParameter ipcq_check;
  Visit()(ipcq_handler, ipcq_check);
}

}  // namespace ipcq_compiler
