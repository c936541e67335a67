// What users and their machines get wrong: each a clear error that names object, cause and remedy, told apart from the
// others, and nothing left behind. And a client that writes random bytes over the queue.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "doorbell.hpp"
#include "process/peers.hpp"
#include "queue_map.hpp"

namespace ipcq_test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

// The text of the E that `call` throws; empty (and a failure) when it throws another or none.
template <class E>
std::string error_of(const std::function<void()>& call) {
  try {
    call();
    ADD_FAILURE() << "no error";
  } catch (const E& e) {
    return e.what();
  } catch (const std::exception& e) {
    ADD_FAILURE() << "another error: " << e.what();
  }
  return {};
}

class BadInput : public ProcessTest {
 protected:
  std::vector<std::string> segments() const {
    for (const auto& e : list_brokers()) {
      if (e.name == name_) return e.segments;
    }
    return {};
  }
  std::string segment_of(const char* kind) const {
    for (const auto& s : segments()) {
      if (s.find(std::string("+") + kind + "+") != std::string::npos) return s;
    }
    ADD_FAILURE() << "no segment of kind " << kind;
    return {};
  }
};

TEST_F(BadInput, NoBroker) {
  const auto text = error_of<NotFoundError>([&] { (void)connect({.broker = name_}); });
  EXPECT_THAT(text, AllOf(HasSubstr("'" + name_ + "'"), HasSubstr("none answers at"), HasSubstr("ipcq-broker")));
  const auto start = std::chrono::steady_clock::now();
  error_of<NotFoundError>([&] { (void)connect({.broker = name_, .wait_for = kMoment}); });
  EXPECT_GE(std::chrono::steady_clock::now() - start, kMoment);
  EXPECT_THAT(error_of<NotFoundError>([&] { (void)fetch_stats(name_); }), HasSubstr(name_));
  EXPECT_THAT(error_of<UsageError>([&] { (void)connect({.broker = "no such name"}); }), HasSubstr("'no such name'"));
}

TEST_F(BadInput, ABrokerThatComesLaterIsFound) {
  Peer& early = spawn("producer", {"id=1", "count=1"});
  std::this_thread::sleep_for(kMoment);
  EXPECT_FALSE(early.ended());
  spawn_broker();
  EXPECT_EQ(end_of(early), "exit 0");
}

TEST_F(BadInput, UnknownQueue) {
  Broker& b = embed_broker();
  b.create("frames");
  auto s = connect({.broker = name_});
  const auto text = error_of<NotFoundError>([&] { (void)s.producer("farmes"); });
  EXPECT_THAT(text, AllOf(HasSubstr("'farmes'"), HasSubstr("it has frames")));
  error_of<NotFoundError>([&] { (void)s.consumer("farmes", {.wait_for = kMoment}); });
  EXPECT_THAT(error_of<NotFoundError>([&] { (void)fetch_dump("farmes", name_); }), HasSubstr("frames"));
  error_of<NotFoundError>([&] { end_of_stream("farmes", name_); });
  error_of<UsageError>([&] { (void)s.producer("far mes"); });
  error_of<UsageError>([&] { (void)s.consumer("frames", {.group = "a/b"}); });
}

TEST_F(BadInput, OptionsThatCannotWork) {
  Broker& b = embed_broker();
  const auto refused = [&](QueueOptions o) { return error_of<UsageError>([&] { b.create("q", std::move(o)); }); };
  EXPECT_THAT(refused({.handler = "uper"}), AllOf(HasSubstr("'uper'"), HasSubstr("upper")));
  EXPECT_THAT(refused({.slots = (1u << 20) + 1}), AllOf(HasSubstr("slots"), HasSubstr("1048576")));
  EXPECT_THAT(refused({.slot_bytes = 0}), HasSubstr("slot_bytes"));
  EXPECT_THAT(refused({.pool = "nope"}), HasSubstr("'nope'"));
  EXPECT_THAT(refused({.backend = "gpu"}), HasSubstr("'gpu'"));
  // Without a handler `auto` is host, to which these say nothing.
  EXPECT_THAT(refused({.device = 1}), AllOf(HasSubstr("device"), HasSubstr("backend cuda")));
  EXPECT_THAT(refused({.mirror = Mirror::none}), HasSubstr("mirror"));
  EXPECT_THAT(refused({.host_readable = false}), HasSubstr("host_readable"));
  EXPECT_THAT(refused({.executor = ExecutorKind::stream}), HasSubstr("executor"));
  EXPECT_THAT(error_of<UsageError>([&] { b.create_pool("p", {.device = 1}); }), HasSubstr("device"));
  EXPECT_THAT(refused({.groups = {{"a"}, {"a"}}}), HasSubstr("'a' twice"));
  EXPECT_THAT(refused({.max_endpoints = 0}), HasSubstr("max_endpoints"));
  EXPECT_THAT(refused({.held_per_consumer = 4097}), HasSubstr("held_per_consumer"));
  EXPECT_THAT(error_of<UsageError>([&] { b.create("-q"); }), HasSubstr("'-q'"));
  ::setenv("IPCQ_RUNNER", "/nowhere/ipcq-runner", 1);  // as on a machine without CUDA
  const auto text = error_of<BackendError>([&] { b.create("q", {.backend = "cuda"}); });
  ::unsetenv("IPCQ_RUNNER");
  EXPECT_THAT(text, AllOf(HasSubstr("'q'"), HasSubstr("cuda"), HasSubstr("host")));
  EXPECT_TRUE(b.stats().queues.empty());
  EXPECT_TRUE(segments().empty());
  b.create("q");  // the name is free
  EXPECT_THAT(error_of<UsageError>([&] { b.create("q"); }), HasSubstr("exists already"));
}

TEST_F(BadInput, TheMemoryOfAQueueIsKnownBeforehand) {
  Broker& b = embed_broker();
  std::uint64_t sum = 0;
  const auto check = [&] { EXPECT_EQ(b.stats().shm_bytes, sum); };
  const PoolOptions pool{.slots = 700, .slot_bytes = 5000};
  b.create_pool("p", pool);
  sum += memory_needs(pool).shared_memory;
  check();
  unsigned number = 0;
  for (const QueueOptions& o : {QueueOptions{}, QueueOptions{.slots = 0, .lines = 5000, .backend = "host"},
                                QueueOptions{.slots = 3, .slot_bytes = 100, .handler = "upper", .backend = "host"},
                                QueueOptions{.max_endpoints = 3, .held_per_consumer = 7}}) {
    b.create("q" + std::to_string(number++), o);
    sum += memory_needs(o).shared_memory;
    check();
  }
  const QueueOptions shares{.pool = "p"};
  b.create("shares", shares);
  sum += memory_needs(shares, &pool).shared_memory;
  check();
  EXPECT_EQ(memory_needs(shares, &pool).device_memory + memory_needs(QueueOptions{}).device_memory, 0u);

  constexpr std::uint64_t kFrame = 24883200;  // a whole number of pages
  const auto on_gpu = [&](Mirror mirror, const char* handler) {
    return memory_needs(
        QueueOptions{.slots = 64, .slot_bytes = kFrame, .handler = handler, .backend = "cuda", .mirror = mirror});
  };
  const MemoryNeeds bare = on_gpu(Mirror::none, "");
  const MemoryNeeds mirrored = on_gpu(Mirror::full, "");
  EXPECT_EQ(bare.device_memory, 1593835520u);  // 760 blocks of 2 MiB
  EXPECT_LT(bare.shared_memory, kFrame);
  EXPECT_LT(bare.pinned, bare.shared_memory);
  EXPECT_EQ(mirrored.device_memory, bare.device_memory);
  EXPECT_GT(mirrored.pinned, 64 * kFrame);
  EXPECT_GT(mirrored.shared_memory, mirrored.pinned);
  EXPECT_EQ(on_gpu(Mirror::full, "upper").pinned, mirrored.pinned);  // both have an executor
  EXPECT_THROW((void)memory_needs(QueueOptions{.slot_bytes = 0}), UsageError);
}

// Its end of the socket must not be held open by the broker itself, or the broker would wait for a minute.
TEST_F(BadInput, ARunnerThatEndsAtItsStartIsSaidAtOnce) {
  Broker& b = embed_broker();
  ::setenv("IPCQ_RUNNER", "/bin/false", 1);
  const auto before = std::chrono::steady_clock::now();
  const auto text = error_of<BackendError>([&] { b.create("q", {.backend = "cuda"}); });
  ::unsetenv("IPCQ_RUNNER");
  EXPECT_THAT(text, AllOf(HasSubstr("'q'"), HasSubstr("ended at its start"), HasSubstr("/bin/false")));
  EXPECT_LT(std::chrono::steady_clock::now() - before, std::chrono::seconds(30));
  EXPECT_TRUE(segments().empty());
}

// A copy of a segment that a test may spoil: the original is in use.
class SpoiledSegment : public BadInput {
 protected:
  void SetUp() override {
    embed_broker().create("q", {.slots = 2, .slot_bytes = 256, .lines = 4, .max_endpoints = 2, .held_per_consumer = 2});
  }
  ~SpoiledSegment() override { ::unlink(path().c_str()); }

  std::string copy_name() const { return "ipcq-spoiled-" + name_; }
  std::string path() const { return "/dev/shm/" + copy_name(); }
  void make_copy(const char* kind) const {
    std::filesystem::copy_file("/dev/shm/" + segment_of(kind), path(),
                               std::filesystem::copy_options::overwrite_existing);
  }
  void poke(std::uint64_t offset, const void* bytes, std::size_t n) const {
    std::fstream f(path(), std::ios::binary | std::ios::in | std::ios::out);
    f.seekp(static_cast<std::streamoff>(offset));
    f.write(static_cast<const char*>(bytes), static_cast<std::streamsize>(n));
    ASSERT_TRUE(f.good());
  }
  std::string queue_error() const {
    return error_of<LayoutError>([&] { (void)detail::QueueMap::open(copy_name(), 0); });
  }
};

TEST_F(SpoiledSegment, AnIntactCopyOpens) {
  make_copy("queue");
  EXPECT_EQ(detail::QueueMap::open(copy_name(), 0)->config().lines, 4u);
  make_copy("pool");
  EXPECT_EQ(detail::PoolMap::open(copy_name(), 0)->config().slots, 2u);
}

TEST_F(SpoiledSegment, AnotherVersionIsToldApart) {
  make_copy("queue");
  const std::uint32_t version = 7;
  poke(offsetof(detail::SegmentHeader, version), &version, sizeof version);
  EXPECT_THAT(queue_error(), AllOf(HasSubstr(copy_name()), HasSubstr("wrong version"), HasSubstr("ABI 7"),
                                   HasSubstr("ABI 1"), HasSubstr("one release")));
}

TEST_F(SpoiledSegment, OneThatIsNotReadyIsToldApartAndWaitedFor) {
  make_copy("queue");
  const std::uint32_t none = 0, ready = detail::kLayoutVersion;
  poke(offsetof(detail::SegmentHeader, version), &none, sizeof none);
  EXPECT_THAT(queue_error(), AllOf(HasSubstr(copy_name()), HasSubstr("not ready")));
  std::thread creator([&] {
    std::this_thread::sleep_for(kMoment);
    poke(offsetof(detail::SegmentHeader, version), &ready, sizeof ready);
  });
  EXPECT_NO_THROW((void)detail::QueueMap::open(copy_name(), detail::deadline_after(kPeerBound)));
  creator.join();
}

TEST_F(SpoiledSegment, ATruncatedOneIsDamagedAndNoBusError) {
  make_copy("queue");
  const auto size = std::filesystem::file_size(path());
  for (const auto left : {size - 1, size - 4096, std::uintmax_t{4096}}) {
    std::filesystem::resize_file(path(), left);
    EXPECT_THAT(queue_error(), AllOf(HasSubstr("damaged"), HasSubstr(std::to_string(left)))) << left;
  }
  for (const auto left : {4095, 100, 0}) {  // not even a header: as one that is being created
    std::filesystem::resize_file(path(), static_cast<std::uintmax_t>(left));
    EXPECT_THAT(queue_error(), HasSubstr("not ready")) << left;
  }
}

TEST_F(SpoiledSegment, AnyFlippedBitOfTheHeaderIsNoticed) {
  const auto try_all = [&](const char* kind, std::size_t bytes, auto open) {
    make_copy(kind);
    std::vector<char> header(bytes);
    std::ifstream(path(), std::ios::binary).read(header.data(), static_cast<std::streamsize>(bytes));
    for (std::size_t at = 0; at < bytes; ++at) {
      const char flipped = static_cast<char>(header[at] ^ (1 << (at % 8)));
      poke(at, &flipped, 1);
      const std::string text = error_of<LayoutError>(open);
      const bool version = at / 4 == offsetof(detail::SegmentHeader, version) / 4;
      EXPECT_TRUE(text.find("damaged") != std::string::npos ||
                  (version && text.find("wrong version") != std::string::npos) ||
                  (version && text.find("not ready") != std::string::npos))
          << kind << " byte " << at << ": " << text;
      poke(at, &header[at], 1);
    }
    EXPECT_NO_THROW(open());
  };
  try_all("queue", sizeof(detail::QueueHeader), [&] { (void)detail::QueueMap::open(copy_name(), 0); });
  try_all("pool", sizeof(detail::PoolHeader), [&] { (void)detail::PoolMap::open(copy_name(), 0); });
  // One kind is not taken for the other.
  EXPECT_THAT(queue_error(), HasSubstr("damaged"));
}

// A header with a right checksum and counts that do not go together.
TEST_F(SpoiledSegment, ConsistentNonsenseIsDamaged) {
  using Edit = std::function<void(detail::QueueHeader&)>;
  const Edit edits[] = {
      [](auto& h) { h.lines = 5; },
      [](auto& h) { h.lines *= 1024; },
      [](auto& h) { h.endpoints = 0xffffffff; },
      [](auto& h) { h.held_per_endpoint = 0xffffffff; },
      [](auto& h) { h.held_offset += 8; },
      [](auto& h) { h.in_offset = ~std::uint64_t{0} - 7; },
      [](auto& h) { h.control_offset = 0; },
  };
  for (std::size_t i = 0; i < std::size(edits); ++i) {
    make_copy("queue");
    const auto size = std::filesystem::file_size(path());
    detail::QueueHeader h;
    std::ifstream(path(), std::ios::binary).read(reinterpret_cast<char*>(&h), sizeof h);
    edits[i](h);
    // publish_header computes the checksum: over a segment of that size, which then takes the copy's place.
    const std::string forged = copy_name() + "-forged";
    {
      auto segment = detail::Segment::create(forged, size, {});
      detail::publish_header(segment, h);
      std::filesystem::copy_file("/dev/shm/" + forged, path(), std::filesystem::copy_options::overwrite_existing);
    }
    EXPECT_THAT(queue_error(), HasSubstr("damaged")) << "edit " << i;
  }
}

TEST_F(SpoiledSegment, ASegmentThatIsGoneIsNotFound) {
  const auto text = error_of<NotFoundError>([&] { (void)detail::QueueMap::open(copy_name(), 0); });
  EXPECT_THAT(text, AllOf(HasSubstr(copy_name()), HasSubstr("does not exist")));
}

// What a client gets to see of all that.
TEST_F(SpoiledSegment, AClientIsToldAndTheBrokerGoesOn) {
  const std::string original = "/dev/shm/" + segment_of("queue");
  const auto write_version = [&](std::uint32_t version) {
    std::fstream f(original, std::ios::binary | std::ios::in | std::ios::out);
    f.seekp(offsetof(detail::SegmentHeader, version));
    f.write(reinterpret_cast<const char*>(&version), sizeof version);
  };
  write_version(9);
  auto s = connect({.broker = name_});
  EXPECT_THAT(error_of<LayoutError>([&] { (void)s.producer("q"); }), HasSubstr("wrong version"));
  write_version(detail::kLayoutVersion);
  bounded("the endpoint to be free again", [&] { return stats().endpoints.empty(); });
  auto p = s.producer("q");
  EXPECT_EQ(p.send(stamped(1, 0), kPeerBound), Status::ok);
  EXPECT_EQ(p.send(patterned(257, 0), kPeerBound), Status::too_large);
}

TEST_F(BadInput, AnotherUserIsRefused) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root, to become another user";
  // Where others may look: the run directory of a test is this user's alone.
  ASSERT_EQ(chmod(directory_.c_str(), 0755), 0);
  const std::string socket = directory_ + "/socket";
  const Broker b(BrokerOptions{.name = socket});
  struct stat st {};
  ASSERT_EQ(stat(socket.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600u);
  Peer& stranger = peers_.emplace_back("stranger", std::vector<std::string>{"broker=" + socket}, "",
                                       directory_ + "/s.records", directory_ + "/s.output");
  const std::string end = end_of(stranger);
  const std::string said = stranger.output();
  if (end == "exit 126" || end == "exit 127" || end == "exit 2") GTEST_SKIP() << "cannot become another user: " << said;
  EXPECT_EQ(end, "exit 54") << said;  // PermissionError
  EXPECT_THAT(said, AllOf(HasSubstr(socket), HasSubstr("Permission denied"), HasSubstr("--unix-group")));
}

TEST_F(BadInput, SegmentsAreForTheirUserAlone) {
  embed_broker().create("q");
  for (const auto& s : segments()) {
    struct stat st {};
    ASSERT_EQ(stat(("/dev/shm/" + s).c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 0777, 0600u) << s;
  }
}

TEST_F(BadInput, MoreThanSharedMemoryHoldsIsRefusedAtCreation) {
  struct statvfs fs {};
  ASSERT_EQ(statvfs("/dev/shm", &fs), 0);
  const std::uint64_t total = std::uint64_t{fs.f_blocks} * fs.f_frsize;
  if (total == 0) GTEST_SKIP() << "/dev/shm has no limit here";
  Broker& b = embed_broker();
  constexpr std::size_t kSlotBytes = 1u << 30;
  const auto slots = static_cast<std::uint32_t>(total / kSlotBytes + 2);
  std::string text;
  try {
    b.create("big", {.slots = slots, .slot_bytes = kSlotBytes});
    ADD_FAILURE() << "created";
  } catch (const SystemError& e) {
    EXPECT_EQ(e.code(), ENOSPC);
    text = e.what();
  }
  EXPECT_THAT(text, AllOf(HasSubstr("big"), HasSubstr("GiB are needed"), HasSubstr("are free in /dev/shm"),
                          HasSubstr("--shm-size")));
  EXPECT_TRUE(segments().empty());
  b.create("big", {.slots = 1, .slot_bytes = 256});  // the name is free
}

// Likewise when there is some room, but not enough: a file system of 1 MiB in a mount namespace of its own.
TEST_F(BadInput, ASmallSharedMemoryIsToldWithoutABusError) {
  Peer& small = spawn("small_shm", {});
  const std::string end = end_of(small);
  const std::string said = small.output();
  if (end == "exit 77") GTEST_SKIP() << "no mount namespace for this user";
  EXPECT_EQ(end, "exit 56") << said;  // SystemError with ENOSPC
  EXPECT_THAT(said, AllOf(HasSubstr("MiB are needed"), HasSubstr("of 1.0 MiB are free"), HasSubstr("--shm-size")));
  EXPECT_THAT(said, testing::Not(testing::ContainsRegex("(^|\n)ipcq"))) << "left behind";
}

// A message that was received, and whose held entry another client then writes over: forwarding it must not follow what
// stands there now.
TEST_F(BadInput, ASpoiledHeldEntryCrashesNobody) {
  Broker& b = embed_broker();
  b.create("q", {.slots = 2, .slot_bytes = 256, .max_endpoints = 4, .held_per_consumer = 4});
  b.create("out", {.pool = "q"});
  auto s = connect({.broker = name_});
  auto p = s.producer("q");
  auto c = s.consumer("q");
  auto out = s.producer("out");
  ASSERT_EQ(p.send(stamped(1, 0, 200), kPeerBound), Status::ok);
  auto m = c.receive(kPeerBound);
  ASSERT_TRUE(m);
  const auto queue = detail::QueueMap::open(segment_of("queue"), 0);
  for (std::uint32_t i = 0; i < queue->held_entries(); ++i) {
    auto& h = queue->held()[i];
    // All but the two words in front.
    if (h.word.load(std::memory_order_relaxed) != 0) std::memset(reinterpret_cast<char*>(&h) + 16, 0x5a, sizeof h - 16);
  }
  EXPECT_TRUE(read_stamp(m->bytes()));
  (void)out.forward(*m, 100ms);
  if (*m) (void)m->release();
  c.close();
  EXPECT_FALSE(b.dump("q").empty());
}

// A client writes random bytes over control blocks, lines, logs, held entries and slot words while others work. Their
// messages may be lost, nobody may crash, or hang beyond the deadlines that it gave; the broker answers and stops.
class Scribbler : public BadInput, public testing::WithParamInterface<std::tuple<unsigned, const char*>> {};
INSTANTIATE_TEST_SUITE_P(, Scribbler, testing::Combine(testing::Values(1u, 2u, 3u), testing::Values("identity", "")),
                         [](const auto& info_) {
                           return (*std::get<1>(info_.param) != '\0' ? "Handler" : "Direct") +
                                  std::to_string(std::get<0>(info_.param));
                         });

TEST_P(Scribbler, SpoilsTheQueueAndNothingElse) {
  const auto [seed, handler] = GetParam();
  Peer& broker = spawn_broker({"slots=8", "lines=16", std::string("handler=") + handler});
  std::string names;
  for (const auto& s : segments()) names += (names.empty() ? "" : ",") + s;
  std::vector<Peer*> clients;
  constexpr const char* kWaits[] = {"wait=spin", "wait=hybrid", "wait=sleep"};
  const std::string wait = kWaits[seed % 3];
  for (const auto& [role, more] : std::vector<std::pair<std::string, std::string>>{{"producer", "batch=1"},
                                                                                   {"producer", "batch=8"},
                                                                                   {"consumer", "batch=1"},
                                                                                   {"consumer", "batch=4"},
                                                                                   {"forwarder", "from=q"}}) {
    clients.push_back(&spawn_ready(role, {"for_ms=1000", "timeout_ms=50", "to=out", more, wait}));
  }
  clients.push_back(&spawn_ready("consumer", {"for_ms=1000", "timeout_ms=50", "queue=out", wait}));
  Peer& scribbler = spawn("scribbler", {"segments=" + names, "for_ms=800", "seed=" + std::to_string(seed)});
  EXPECT_EQ(end_of(scribbler), "exit 0");
  EXPECT_NO_THROW((void)fetch_stats(name_));
  EXPECT_NO_THROW((void)fetch_dump("q", name_));
  for (Peer* c : clients) EXPECT_EQ(end_of(*c), "exit 0");
  EXPECT_FALSE(broker.ended()) << broker.end_text();
  // Others come and go on the spoiled queue.
  Peer& late = spawn("consumer", {"for_ms=100", "timeout_ms=50", "group=late"});
  EXPECT_EQ(end_of(late), "exit 0");
  EXPECT_NO_THROW((void)fetch_stats(name_));
  broker.signal(SIGTERM);
  EXPECT_EQ(end_of(broker), "exit 0");
  EXPECT_TRUE(segments().empty());
}

}  // namespace
}  // namespace ipcq_test
