// Typed calls: a client whose requests hold a Q and whose replies an A, and a server of these (ipcq/typed.hpp,
// ipcq/calls.hpp). docs/guide/types.md.
//
//   auto client = session.client<Question, Answer>("engine");
//   auto call = client.request({.number = 7}, 1s);
//   auto answer = call->receive();
//   if (answer) use(answer->value().text);
//
// Thin: each call is that of the endpoint below, raw(), with its waits and statuses. Like these for one thread.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>
#include <utility>

#include "ipcq/calls.hpp"
#include "ipcq/typed.hpp"

#pragma push_macro("Status")  // Xlib's, for int
#undef Status

namespace ipcq {

// What came for a call, as a view that is valid as long as the Reply's.
template <class A>
class TypedReply {
 public:
  TypedReply() noexcept = default;
  explicit TypedReply(const Reply& reply) noexcept
      : view_(reply.bytes().data(), reply.length()), has_more_(reply.has_more()) {
    if (!view_.is_sound()) view_ = {};
  }
  explicit operator bool() const noexcept { return static_cast<bool>(view_); }
  // Precondition: it came with ok.
  const A& operator*() const noexcept { return *view_; }
  const A* operator->() const noexcept { return view_.operator->(); }
  const A& value() const noexcept { return *view_; }
  // What a field refers to, as TypedMessage::get().
  template <class Field>
  auto get(const Field& field) const noexcept {
    return view_.get(field);
  }
  const FlatView<A>& view() const noexcept { return view_; }
  bool has_more() const noexcept { return has_more_; }

 private:
  FlatView<A> view_;
  bool has_more_ = false;
};

template <class Q, class A>
class TypedRequest;

template <class A>
class TypedCall {
 public:
  TypedCall() noexcept = default;
  explicit TypedCall(Call call) noexcept : call_(std::move(call)) {}
  explicit operator bool() const noexcept { return static_cast<bool>(call_); }
  std::uint64_t id() const noexcept { return call_.id(); }

  // Also malformed: the reply is no A; the call goes on where more may come.
  [[nodiscard]] Result<TypedReply<A>> receive(Timeout timeout = kForever) noexcept {
    const Result<Reply> reply = call_.receive(timeout);
    if (!reply) return reply.status();
    const TypedReply<A> typed(*reply);
    if (!typed) return Status::malformed;
    return typed;
  }
  [[nodiscard]] Result<TypedReply<A>> poll() noexcept { return receive(Duration::zero()); }
  std::uint32_t failure_code() const noexcept { return call_.failure_code(); }
  std::string_view failure_text() const noexcept { return call_.failure_text(); }
  void cancel() noexcept { call_.cancel(); }
  Call& raw() noexcept { return call_; }

 private:
  Call call_;
};

template <class Q, class A>
class TypedClient {
 public:
  TypedClient() noexcept = default;
  explicit TypedClient(Client client) noexcept : client_(std::move(client)) {}

  // Sends a copy of the question, of a type without lists, text and tensors.
  [[nodiscard]] Result<TypedCall<A>> request(const Q& question, Timeout deadline = kForever) noexcept {
    static_assert(!detail::kRefersElsewhere<Q>, "what the question refers to is sent by a FlatWriter, or a loan");
    return typed(client_.request(detail::value_bytes(question), deadline));
  }
  // Sends what was built in a buffer. Also too_large: something had no room there.
  template <std::same_as<FlatWriter<Q>> Writer>
  [[nodiscard]] Result<TypedCall<A>> request(const Writer& question, Timeout deadline = kForever) noexcept {
    if (question.is_full() || question.is_beside()) return Status::too_large;
    return typed(client_.request(question.bytes(), deadline));
  }
  // Builds a question in a slot, and sends it.
  [[nodiscard]] Result<TypedLoan<Q>> loan(Timeout timeout = kForever) noexcept {
    Result<Loan> loan = client_.loan(timeout);
    if (!loan) return loan.status();
    return TypedLoan<Q>(std::move(*loan), client_.metadata_for_values());
  }
  [[nodiscard]] Result<TypedCall<A>> request(TypedLoan<Q>& question, Timeout deadline = kForever) noexcept {
    if (const Status s = question.complete(); s != Status::ok) return s;
    Result<Call> call = client_.request(question.loan_, question.length(), deadline);
    if (call) question.writer() = FlatWriter<Q>();  // the slot is the server's now
    return typed(std::move(call));
  }

  // Client::forward().
  template <class OtherA>
  [[nodiscard]] Status forward(TypedRequest<Q, OtherA>& question, Timeout timeout = kForever) noexcept {
    static_assert(std::is_same_v<A, OtherA>, "whoever asks waits for answers of another type");
    const Status s = client_.forward(question.raw(), timeout);
    if (!question.raw()) question.forget();
    return s;
  }

  [[nodiscard]] Result<std::uint64_t> wait_any(Timeout timeout = kForever) noexcept {
    return client_.wait_any(timeout);
  }
  int fd() { return client_.fd(); }
  Client& raw() noexcept { return client_; }
  void close() noexcept { client_.close(); }

 private:
  static Result<TypedCall<A>> typed(Result<Call> call) noexcept {
    if (!call) return call.status();
    return TypedCall<A>(std::move(*call));
  }
  Client client_;
};

// A request that holds a Q, to be answered with an A.
template <class Q, class A>
class TypedRequest {
 public:
  // With which requests that are no Q are failed (Call::failure_code()).
  static constexpr std::uint32_t kMalformed = 0xffffffff;

  TypedRequest() noexcept = default;
  explicit TypedRequest(Request request) noexcept
      : request_(std::move(request)), view_(value_of<Q>(request_.bytes(), request_.metadata(), sizeof(Q))) {}
  // Whether there is a question that was not answered yet.
  explicit operator bool() const noexcept { return request_ && view_; }
  // Precondition: there is one. It ends with the request, and, where it lies in a slot, with what is written there: by
  // raw().room(), or as a reply of stream() that is longer than Client::inline_reply_bytes().
  const Q& operator*() const noexcept { return *view_; }
  const Q* operator->() const noexcept { return view_.operator->(); }
  const Q& value() const noexcept { return *view_; }
  // What a field refers to, as TypedMessage::get().
  template <class Field>
  auto get(const Field& field) const noexcept {
    return view_.get(field);
  }
  bool is_cancelled() const noexcept { return request_.is_cancelled(); }

  // As Request's. Of a type with lists a FlatWriter, also one in raw().room(): what is sent from there is not copied.
  [[nodiscard]] Status reply(const A& answer, Timeout timeout = kForever) noexcept {
    static_assert(!detail::kRefersElsewhere<A>, "what the answer refers to is sent by a FlatWriter");
    return request_.reply(detail::value_bytes(answer), timeout);
  }
  template <std::same_as<FlatWriter<A>> Writer>
  [[nodiscard]] Status reply(const Writer& answer, Timeout timeout = kForever) noexcept {
    return answer.is_full() || answer.is_beside() ? Status::too_large : request_.reply(answer.bytes(), timeout);
  }
  [[nodiscard]] Status stream(const A& answer, Timeout timeout = kForever) noexcept {
    static_assert(!detail::kRefersElsewhere<A>, "what the answer refers to is sent by a FlatWriter");
    return request_.stream(detail::value_bytes(answer), timeout);
  }
  template <std::same_as<FlatWriter<A>> Writer>
  [[nodiscard]] Status stream(const Writer& answer, Timeout timeout = kForever) noexcept {
    return answer.is_full() || answer.is_beside() ? Status::too_large : request_.stream(answer.bytes(), timeout);
  }
  Status end() noexcept { return request_.end(); }
  Status fail(std::uint32_t code, std::string_view text = {}, Timeout timeout = kForever) noexcept {
    return request_.fail(code, text, timeout);
  }
  Status nack() noexcept { return request_.nack(); }
  Request& raw() noexcept { return request_; }

 private:
  template <class OtherQ, class OtherA>
  friend class TypedClient;
  void forget() noexcept { view_ = {}; }
  Request request_;
  FlatView<Q> view_;
};

template <class Q, class A>
class TypedServer {
 public:
  TypedServer() noexcept = default;
  explicit TypedServer(Server server) noexcept : server_(std::move(server)) {}

  // Also malformed: the request is no Q. Its caller is told (TypedRequest::kMalformed).
  [[nodiscard]] Result<TypedRequest<Q, A>> receive(Timeout timeout = kForever) noexcept {
    Result<Request> request = server_.receive(timeout);
    if (!request) return request.status();
    TypedRequest<Q, A> typed(std::move(*request));
    if (typed) return typed;
    (void)typed.fail(TypedRequest<Q, A>::kMalformed, "the request is no value of the server's type", Duration::zero());
    return Status::malformed;
  }
  int fd() { return server_.fd(); }
  Server& raw() noexcept { return server_; }
  void close() noexcept { server_.close(); }

 private:
  Server server_;
};

}  // namespace ipcq

#pragma pop_macro("Status")
