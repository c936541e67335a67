// Shared memory that somebody has written nonsense into: segments are checked when they are opened, and what lies in
// them whenever it is used.
#include <fcntl.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>
#include <tuple>

#include "process/bad_input.hpp"
#include "protocol/doorbell.hpp"
#include "queue/queue_map.hpp"

namespace ipcq_test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

// A copy of a segment that a test may spoil: the original is in use.
class SpoiledSegment : public BadInput {
 protected:
  void SetUp() override {
    embed_broker().create("q", {.slots = 2, .size = 256, .lines = 4, .endpoints = 2, .held = 2});
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
                                   HasSubstr("ABI 2"), HasSubstr("one release")));
}

TEST_F(SpoiledSegment, OneThatIsNotReadyIsToldApartAndWaitedFor) {
  make_copy("queue");
  const std::uint32_t none = 0, ready = kAbiVersion;
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
      [](auto& h) { h.line_bytes = 0; },
      [](auto& h) { h.line_bytes = 32; },
      [](auto& h) { h.line_bytes = 100; },
      [](auto& h) { h.line_bytes = 2112; },
      [](auto& h) { h.line_bytes = 0xffffffc0; },
      [](auto& h) { h.inline_bytes += 16; },
      [](auto& h) { h.inline_bytes = 0xffffffff; },
      [](auto& h) { h.line_bytes = 64, h.inline_bytes = 32, h.segment.flags &= ~detail::kQueuePlainLines; },
      [](auto& h) { h.segment.flags |= detail::kQueueOnDevice; },  // a GPU reads tagged lines
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
  write_version(kAbiVersion);
  bounded("the endpoint to be free again", [&] { return stats().endpoints.empty(); });
  auto p = s.producer("q");
  EXPECT_EQ(p.send(stamped(1, 0), kPeerBound), Status::ok);
  EXPECT_EQ(p.send(patterned(257, 0), kPeerBound), Status::too_large);
}

// A message that was received, and whose held entry another client then writes over: forwarding it must not follow what
// stands there now.
TEST_F(BadInput, ASpoiledHeldEntryCrashesNobody) {
  Broker& b = embed_broker();
  b.create("q", {.slots = 2, .size = 256, .endpoints = 4, .held = 4});
  b.create("out", {.pool = "q"});
  auto s = connect({.broker = name_});
  auto p = s.producer("q");
  auto c = s.consumer("q");
  auto out = s.producer("out");
  ASSERT_EQ(p.send(stamped(1, 0, 200), kPeerBound), Status::ok);
  auto m = c.receive(kPeerBound);
  ASSERT_TRUE(m);
  const auto queue = detail::QueueMap::open(segment_of("queue"), 0);
  for (std::uint32_t i = 0; i < queue->held().size(); ++i) {
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
struct Scribbled {
  unsigned seed;
  const char* handler;
  std::uint32_t line = 128;
  const char* in_line = "bytes=0";  // of the producer of batches; 0: short and long in turn
};
class Scribbler : public BadInput, public testing::WithParamInterface<Scribbled> {};
INSTANTIATE_TEST_SUITE_P(, Scribbler,
                         testing::Values(Scribbled{1, ""}, Scribbled{2, ""}, Scribbled{3, ""}, Scribbled{1, "identity"},
                                         Scribbled{2, "identity"}, Scribbled{3, "identity"},
                                         Scribbled{1, "", 64, "bytes=30"}, Scribbled{2, "", 1088, "bytes=1000"},
                                         Scribbled{3, "identity", 1088, "bytes=1000"}),
                         [](const auto& info_) {
                           const Scribbled& p = info_.param;
                           return std::string(*p.handler != '\0' ? "Handler" : "Direct") + std::to_string(p.seed) +
                                  (p.line == 128 ? "" : "Line" + std::to_string(p.line));
                         });

TEST_P(Scribbler, SpoilsTheQueueAndNothingElse) {
  const auto [seed, handler, line, in_line] = GetParam();
  Peer& broker = spawn_broker(
      {"slots=8", "lines=16", std::string("handler=") + handler, "size=2048", "line=" + std::to_string(line)});
  std::string names;
  for (const auto& s : segments()) names += (names.empty() ? "" : ",") + s;
  std::vector<Peer*> clients;
  constexpr const char* kWaits[] = {"wait=spin", "wait=hybrid", "wait=sleep"};
  const std::string wait = kWaits[seed % 3];
  for (const auto& [role, more] : std::vector<std::pair<std::string, std::string>>{{"producer", "batch=1"},
                                                                                   {"producer", "batch=8"},
                                                                                   {"consumer", "into=2048"},
                                                                                   {"consumer", "consume=8"},
                                                                                   {"consumer", "batch=1"},
                                                                                   {"consumer", "batch=4"},
                                                                                   {"forwarder", "from=q"}}) {
    const std::string bytes = more == "batch=8" ? in_line : line > 128 ? "bytes=1500" : "bytes=0";
    clients.push_back(&spawn_ready(role, {"for_ms=1000", "timeout_ms=50", "to=out", more, wait, bytes}));
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
