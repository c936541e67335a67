// Messages over a control socket, with what a peer may send instead of one.
#include "control/control.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <grp.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "base/peer.hpp"
#include "errors.hpp"
#include "ipcq/error.hpp"
#include "unit/child.hpp"
#include "unit/temporary_directory.hpp"

namespace ipcq::detail {
namespace {

using ipcq_test::Child;
using ipcq_test::error_of;
using testing::AllOf;
using testing::HasSubstr;

// Two ends that do not block.
struct Pair {
  explicit Pair(int type = SOCK_SEQPACKET) {
    int ends[2] = {-1, -1};
    EXPECT_EQ(::socketpair(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
    here.reset(ends[0]);
    there.reset(ends[1]);
  }
  Fd here;
  Fd there;
};

Fd some_file() { return Fd(::open("/dev/null", O_RDONLY | O_CLOEXEC)); }
bool is_same_file(int a, int b) {
  struct stat x {};
  struct stat y {};
  return ::fstat(a, &x) == 0 && ::fstat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

class ControlMessage : public testing::Test {
 protected:
  int receive() { return receive_message(pair_.here.get(), &reply_, sizeof reply_, fd_); }
  // Sends `bytes` bytes with these descriptors.
  void send(std::size_t bytes, const std::vector<int>& descriptors = {}) const {
    std::vector<char> content(bytes, 'x');
    iovec io{content.data(), content.size()};
    msghdr m{};
    m.msg_iov = &io;
    m.msg_iovlen = 1;
    alignas(cmsghdr) char space[CMSG_SPACE(4 * sizeof(int))] = {};
    if (!descriptors.empty()) {
      m.msg_control = space;
      m.msg_controllen = CMSG_SPACE(descriptors.size() * sizeof(int));
      cmsghdr* const c = CMSG_FIRSTHDR(&m);
      c->cmsg_level = SOL_SOCKET;
      c->cmsg_type = SCM_RIGHTS;
      c->cmsg_len = CMSG_LEN(descriptors.size() * sizeof(int));
      std::memcpy(CMSG_DATA(c), descriptors.data(), descriptors.size() * sizeof(int));
    }
    EXPECT_EQ(::sendmsg(pair_.there.get(), &m, 0), static_cast<ssize_t>(bytes));
  }

  Pair pair_;
  Reply reply_;
  Fd fd_;
};

TEST_F(ControlMessage, ArrivesAsItWasSentAndInOrder) {
  for (const char* const text : {"first", "second"}) {
    const Reply reply = refuse(Refusal::busy, text);
    ASSERT_TRUE(send_message(pair_.there.get(), &reply, sizeof reply));
  }
  for (const char* const text : {"first", "second"}) {
    ASSERT_EQ(receive(), 1);
    EXPECT_EQ(reply_.magic, kControlMagic);
    EXPECT_EQ(reply_.abi, kAbiVersion);
    EXPECT_EQ(reply_.refusal, Refusal::busy);
    EXPECT_EQ(get_text(reply_.text, sizeof reply_.text), text);
    EXPECT_FALSE(fd_);
  }
  EXPECT_EQ(receive(), -1);
  EXPECT_EQ(errno, EAGAIN);
}

TEST_F(ControlMessage, BringsADescriptorThatStaysHere) {
  const Fd file = some_file();
  ASSERT_TRUE(send_message(pair_.there.get(), &reply_, sizeof reply_, file.get()));
  ASSERT_EQ(receive(), 1);
  ASSERT_TRUE(fd_);
  EXPECT_TRUE(is_same_file(fd_.get(), file.get()));
  EXPECT_NE(::fcntl(fd_.get(), F_GETFD) & FD_CLOEXEC, 0);
}

TEST_F(ControlMessage, OfAnotherSizeBreaksTheProtocol) {
  for (const std::size_t bytes : {std::size_t{1}, sizeof(Reply) - 1, sizeof(Reply) + 1, 4 * sizeof(Reply)}) {
    send(bytes);
    EXPECT_EQ(receive(), -1) << bytes;
    EXPECT_EQ(errno, EPROTO) << bytes;
  }
  const Fd file = some_file();
  send(1, {file.get()});
  EXPECT_EQ(receive(), -1);
  EXPECT_EQ(errno, EPROTO);
  EXPECT_TRUE(fd_);  // and is closed with its owner
}

TEST_F(ControlMessage, WithMoreThanOneDescriptorBreaksTheProtocol) {
  const Fd file = some_file();
  send(sizeof(Reply), {file.get(), file.get()});
  EXPECT_EQ(receive(), -1);
  EXPECT_EQ(errno, EPROTO);
}

TEST_F(ControlMessage, ADescriptorThatFindsNoNumberIsAShortageOfThisProcess) {
  const Fd file = some_file();
  send(sizeof(Reply), {file.get()});
  Child child([&] {
    const rlimit none{0, 0};
    if (::setrlimit(RLIMIT_NOFILE, &none) != 0) ::_exit(1);
    ::_exit(receive() == -1 && errno == EMFILE && !fd_ ? 0 : 2);
  });
  EXPECT_EQ(child.exit_code(), 0);
}

TEST_F(ControlMessage, TheEndComesAfterWhatWasSentBefore) {
  send(sizeof(Reply));
  pair_.there.reset();
  EXPECT_EQ(receive(), 1);
  EXPECT_EQ(receive(), 0);
  EXPECT_EQ(receive(), 0);
  EXPECT_FALSE(send_message(pair_.here.get(), &reply_, sizeof reply_));  // and no SIGPIPE
  EXPECT_EQ(errno, EPIPE);
}

TEST_F(ControlMessage, AResetHidesNothingThatWasSentBefore) {
  Pair stream;
  ASSERT_TRUE(send_message(stream.here.get(), &reply_, sizeof reply_));  // which the other end never reads
  const Reply last = refuse(Refusal::usage, "last words");
  ASSERT_TRUE(send_message(stream.there.get(), &last, sizeof last));
  stream.there.reset();
  EXPECT_EQ(receive_message(stream.here.get(), &reply_, sizeof reply_, fd_), 1);
  EXPECT_EQ(get_text(reply_.text, sizeof reply_.text), "last words");
  EXPECT_EQ(receive_message(stream.here.get(), &reply_, sizeof reply_, fd_), 0);
}

TEST_F(ControlMessage, ThatThePeerDoesNotTakeIsToldAtOnce) {
  const Request request;
  while (send_message(pair_.here.get(), &request, sizeof request)) {
  }
  EXPECT_EQ(errno, EAGAIN);
  EXPECT_FALSE(send_message(-1, &request, sizeof request));
  EXPECT_EQ(errno, EBADF);
}

class NextMessage : public ControlMessage {
 protected:
  NextMessage() { EXPECT_TRUE(ask_for_senders(pair_.here.get())); }
  Peek peek() { return peek_next(pair_.here.get(), &reply_, sizeof reply_, incoming_); }
  Incoming incoming_;
};

TEST_F(NextMessage, IsLookedAtWithoutTakingItOut) {
  EXPECT_EQ(peek(), Peek::nothing);
  send(3);
  for (int i = 0; i < 2; ++i) {
    ASSERT_EQ(peek(), Peek::message);
    EXPECT_EQ(incoming_.bytes, 3u);
    EXPECT_FALSE(incoming_.has_descriptors);
    EXPECT_EQ(incoming_.sender, ::getpid());
  }
  drop_next(pair_.here.get());
  EXPECT_EQ(peek(), Peek::nothing);
  drop_next(pair_.here.get());  // does not block
}

TEST_F(NextMessage, TellsItsWholeSizeAndThatItHasDescriptors) {
  send(sizeof(Reply) + 100);
  ASSERT_EQ(peek(), Peek::message);
  EXPECT_EQ(incoming_.bytes, sizeof(Reply) + 100);
  drop_next(pair_.here.get());
  const Fd file = some_file();
  send(sizeof(Reply), {file.get()});
  ASSERT_EQ(peek(), Peek::message);
  EXPECT_TRUE(incoming_.has_descriptors);
}

TEST_F(NextMessage, AnEmptyOneIsNoEnd) {
  send(0);
  ASSERT_EQ(peek(), Peek::message);
  EXPECT_EQ(incoming_.bytes, 0u);
  drop_next(pair_.here.get());
  pair_.there.reset();
  EXPECT_EQ(peek(), Peek::closed);
}

TEST_F(NextMessage, TellsWhoSentItThroughAnInheritedSocket) {
  Child child([&] { send(1); });
  EXPECT_EQ(child.exit_code(), 0);
  ASSERT_EQ(peek(), Peek::message);
  EXPECT_EQ(incoming_.sender, child.pid());
}

TEST_F(NextMessage, OfWhatIsNoSocketThereIsNone) { EXPECT_EQ(peek_next(-1, &reply_, 1, incoming_), Peek::closed); }

class ControlSocket : public testing::Test {
 protected:
  const ipcq_test::TemporaryDirectory directory_;
  const std::string path_ = directory_.at("s");
};

TEST_F(ControlSocket, HasTheModeItWasGivenAndTakesConnections) {
  const Fd listener = listen_socket(path_, 0640, ::getegid());
  struct stat status {};
  ASSERT_EQ(::stat(path_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0640u);
  EXPECT_EQ(status.st_gid, ::getegid());
  const Fd client = connect_socket(path_);
  ASSERT_TRUE(client);
  EXPECT_NE(::fcntl(client.get(), F_GETFL) & O_NONBLOCK, 0);
  const Fd accepted(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  ASSERT_TRUE(accepted);
  const Request request;
  ASSERT_TRUE(send_message(client.get(), &request, sizeof request));
  Request got;
  Incoming incoming;
  ASSERT_EQ(peek_next(accepted.get(), &got, sizeof got, incoming), Peek::message);
  EXPECT_EQ(incoming.sender, ::getpid());  // asked for on the listening socket
}

TEST_F(ControlSocket, ThatNobodyServesIsToldApart) {
  EXPECT_FALSE(connect_socket(path_));
  EXPECT_EQ(errno, ENOENT);
  (void)listen_socket(path_, 0600, -1);  // its file stays
  EXPECT_FALSE(connect_socket(path_));
  EXPECT_EQ(errno, ECONNREFUSED);
  EXPECT_THAT(error_of<SystemError>([&] { (void)listen_socket(path_, 0600, -1); }),
              AllOf(HasSubstr(path_), HasSubstr("bind failed")));
}

TEST_F(ControlSocket, APathThatIsTooLongIsRefused) {
  const std::string longest = directory_.at(std::string(107 - directory_.at("").size(), 'x'));
  EXPECT_TRUE(listen_socket(longest, 0600, -1));
  EXPECT_EQ(::access(longest.c_str(), F_OK), 0);
  EXPECT_THAT(error_of<UsageError>([&] { (void)listen_socket(longest + "x", 0600, -1); }),
              AllOf(HasSubstr("108 bytes"), HasSubstr("107 are possible")));
  EXPECT_FALSE(connect_socket(longest + "x"));
  EXPECT_EQ(errno, ENAMETOOLONG);
}

TEST_F(ControlSocket, LeavesNoFileWhenItDoesNotComeToListen) {
  Child child([&] {  // another user cannot give the file to root's group
    if (::geteuid() == 0 && (::chmod(directory_.path().c_str(), 0777) != 0 || ::setgid(65534) != 0 ||
                             ::setgroups(0, nullptr) != 0 || ::setuid(65534) != 0)) {
      ::_exit(1);
    }
    try {
      (void)listen_socket(path_, 0600, 0);
    } catch (const PermissionError&) {
      ::_exit(::access(path_.c_str(), F_OK) != 0 ? 0 : 2);
    }
  });
  EXPECT_EQ(child.exit_code(), 0);
}

TEST(Memfd, HoldsAWholeAnswer) {
  std::string content(100'000, 'x');
  content[7] = '\0';
  for (const auto& text : {std::string(), std::string("a"), content}) {
    const Fd fd = make_memfd(text);
    EXPECT_EQ(read_memfd(fd.get()), text);
    EXPECT_EQ(read_memfd(fd.get()), text);  // wherever its offset stands
  }
  EXPECT_THAT(error_of<SystemError>([] { (void)read_memfd(-1); }), HasSubstr("broker answer: fstat failed"));
}

TEST(ControlReply, ARefusalSaysWhyAsFarAsItFits) {
  const Reply r = refuse(Refusal::shortage, std::string(1000, 'x'));
  EXPECT_EQ(r.refusal, Refusal::shortage);
  EXPECT_EQ(get_text(r.text, sizeof r.text), std::string(sizeof r.text - 1, 'x'));
  EXPECT_EQ(r.client, 0u);
}

}  // namespace
}  // namespace ipcq::detail
