// Typed endpoints: values with lists and tensors, types that do not match, messages that are no value, and metadata.
#include <numeric>

#include "conformance/backend.hpp"
#include "errors.hpp"
#include "typed_values.hpp"

namespace ipcq_test {
namespace {

using testing::HasSubstr;

class Typed : public BackendTest {
 protected:
  template <class T>
  TypedProducer<T> typed_producer(const std::string& queue = "q") {
    return session_.producer<T>(queue, {.wait = producer_wait()});
  }
  template <class T>
  TypedConsumer<T> typed_consumer(const std::string& queue = "q", const std::string& group = "default") {
    return session_.consumer<T>(queue, {.group = group, .wait = consumer_wait()});
  }
  static Tick tick(std::uint64_t time) { return {.time = time, .price = 0.5, .symbol = "IBM"}; }

  static void expect_sent(TypedProducer<Scene>& p, std::uint32_t number) {
    auto loan = p.loan(kBound);
    ASSERT_TRUE(loan);
    (*loan)->number = number;
    const auto tracks = loan->make((*loan)->tracks, 2);
    ASSERT_EQ(tracks.size(), 2u);
    for (Track& t : tracks) {
      t = {};
      loan->put(t.name, "track");
    }
    const auto image = loan->make<float>((*loan)->image, {4, 5});
    ASSERT_EQ(image.size(), 20u);
    std::iota(image.begin(), image.end(), 0.F);
    ASSERT_EQ(loan->publish(kBound), Status::ok);
    EXPECT_EQ(loan->publish(kBound), Status::not_held);
  }
  static void expect_scene(const TypedMessage<Scene>& m, std::uint32_t number) {
    EXPECT_EQ(m->number, number);
    const auto tracks = m.get(m->tracks);
    ASSERT_EQ(tracks.size(), 2u);
    EXPECT_EQ(std::string_view(m.get(tracks[1].name)), "track");
    const auto image = m.get(m->image).elements<float>();
    ASSERT_EQ(image.size(), 20u);
    EXPECT_EQ(image[19], 19);
  }
};
IPCQ_INSTANTIATE_PER_BACKEND(Typed);

TEST_P(Typed, ValuesArriveByEveryReceivingCall) {
  create("q");
  auto p = typed_producer<Tick>();
  auto c = typed_consumer<Tick>();
  const std::vector<Tick> many = {tick(1), tick(2), tick(3), tick(4), tick(5), tick(6)};
  ASSERT_EQ(p.send(tick(0), kBound), Status::ok);
  ASSERT_EQ(p.send_many(many, kBound).count, many.size());
  auto m = c.receive(kBound);
  ASSERT_TRUE(m);
  EXPECT_EQ((*m)->time, 0u);
  EXPECT_STREQ((*m)->symbol, "IBM");
  EXPECT_EQ(m->nack(), Status::ok);
  EXPECT_FALSE(*m);
  m = c.receive(kBound);
  ASSERT_TRUE(m);
  EXPECT_EQ(m->raw().redeliveries(), 1u);
  EXPECT_EQ(m->release(), Status::ok);
  Tick copy;
  ASSERT_EQ(c.receive_into(copy, kBound), Status::ok);
  EXPECT_EQ(copy.time, 1u);
  std::vector<std::uint64_t> seen;
  while (seen.size() < 2) {
    ASSERT_EQ(c.consume([&](const Tick& t) { seen.push_back(t.time); }, kBound, 1).status, Status::ok);
  }
  ASSERT_EQ(c.consume(
                 [&](const FlatView<Tick>& t) {
                   seen.push_back(t->time);
                   return false;
                 },
                 kBound)
                .count,
            1u);
  p.close();
  for (auto& each : c) seen.push_back(each->time);
  EXPECT_THAT(seen, testing::ElementsAre(2, 3, 4, 5, 6));
}

TEST_P(Typed, ListsAndTensorsArriveInSlots) {
  create("q", {.slots = 2, .size = 1024});
  auto p = typed_producer<Scene>();
  auto c = typed_consumer<Scene>();
  for (std::uint32_t i = 0; i < 5; ++i) {
    expect_sent(p, i);
    auto m = c.receive(kBound);
    ASSERT_TRUE(m);
    expect_scene(*m, i);
  }
}

TEST_P(Typed, WhatWasBuiltInABufferArrives) {
  create("q");
  auto p = typed_producer<Track>();
  auto c = typed_consumer<Track>();
  alignas(8) std::array<std::byte, 64> room;
  FlatWriter<Track> track(room);
  ASSERT_TRUE(track.put(track->name, "in a line"));
  ASSERT_EQ(p.send(track, kBound), Status::ok);
  auto m = c.receive(kBound);
  ASSERT_TRUE(m);
  EXPECT_EQ(std::string_view(m->get((*m)->name)), "in a line");
  (void)track.make(track->points, 100);
  EXPECT_EQ(p.send(track, kBound), Status::too_large);
}

TEST_P(Typed, OneOfAnotherTypeIsRefusedByBothTexts) {
  create("q");
  auto p = typed_producer<Tick>();
  const std::string why = error_of<UsageError>([&] { (void)typed_producer<FloatTick>(); });
  EXPECT_THAT(why, HasSubstr(schema_text<Tick>()));
  EXPECT_THAT(why, HasSubstr(schema_text<FloatTick>()));
}

TEST_P(Typed, AValueThatNoMessageHasRoomForIsRefusedAtTheOpening) {
  create("q", {.slots = 1, .size = 100});
  EXPECT_THAT(error_of<UsageError>([&] { (void)typed_producer<Scene>(); }), HasSubstr("100 bytes at most"));
  (void)typed_producer<Tick>();  // nothing was settled
}

TEST_P(Typed, WhatIsNoValueIsToldAndPassedOver) {
  create("q", {.slots = 4, .size = 256});
  auto raw = producer();
  auto p = typed_producer<Tick>();
  auto c = typed_consumer<Tick>();
  const auto send_junk = [&](std::size_t length) { ASSERT_EQ(raw.send(patterned(length, 3), kBound), Status::ok); };
  send_junk(7);
  ASSERT_EQ(p.send(tick(1), kBound), Status::ok);
  EXPECT_EQ(c.receive(kBound).status(), Status::malformed);
  EXPECT_EQ(c.receive(kBound)->view()->time, 1u);
  send_junk(200);
  send_junk(3);
  ASSERT_EQ(p.send(tick(2), kBound), Status::ok);
  Tick copy;
  EXPECT_EQ(c.receive_into(copy, kBound), Status::malformed) << "longer";
  EXPECT_EQ(c.receive_into(copy, kBound), Status::malformed) << "shorter";
  EXPECT_EQ(c.receive_into(copy, kBound), Status::ok);
  EXPECT_EQ(copy.time, 2u);
  send_junk(7);
  ASSERT_EQ(p.send(tick(3), kBound), Status::ok);
  std::vector<std::uint64_t> seen;
  const auto note = [&](const Tick& t) { seen.push_back(t.time); };
  EXPECT_EQ(c.consume(note, kBound).status, Status::malformed);
  EXPECT_EQ(c.consume(note, kBound).status, Status::ok);
  EXPECT_THAT(seen, testing::ElementsAre(3));
  send_junk(7);
  ASSERT_EQ(p.send(tick(4), kBound), Status::ok);
  auto range = c.begin();
  EXPECT_THROW(static_cast<void>(range == c.end()), ClosedError);
  EXPECT_FALSE(range == c.end()) << "it goes on behind it";
  EXPECT_EQ((*range)->time, 4u);
  EXPECT_EQ(range->raw().release(), Status::ok);
  EXPECT_FALSE(*range);
  EXPECT_EQ(stats().empty, stats().slots);
}

TEST_P(Typed, RecordsAreValues) {
  create("q", {.slots = 8, .size = 4096, .batch = Batch::records});
  auto p = typed_producer<Tick>();
  auto c = typed_consumer<Tick>();
  std::vector<Tick> many;
  for (std::uint64_t i = 0; i < 200; ++i) many.push_back(tick(i));
  ASSERT_EQ(p.send_many(many, kBound).count, many.size());
  p.close();
  std::uint64_t next = 0;
  for (auto& m : c) EXPECT_EQ(m->time, next++);
  EXPECT_EQ(next, 200u);
}

// ---- metadata ----

TEST_P(Typed, MetadataGoesBesideThePayload) {
  create("q", {.slots = 2, .size = 256, .metadata = 100});
  auto p = producer();
  auto c = consumer();
  EXPECT_EQ(p.metadata_bytes(), 100u);
  EXPECT_EQ(c.metadata_bytes(), 100u);
  for (unsigned i = 0; i < 6; ++i) {
    const std::size_t length = i * 20;
    auto loan = p.loan(kBound);
    ASSERT_TRUE(loan);
    EXPECT_EQ(loan->set_metadata(patterned(101, 1)), Status::too_large);
    const auto bytes = patterned(length, i);
    ASSERT_EQ(loan->set_metadata(bytes), Status::ok);
    ASSERT_EQ(loan->publish(i, kBound), Status::ok);
    EXPECT_EQ(loan->set_metadata(bytes), Status::not_held);
    auto m = c.receive(kBound);
    ASSERT_TRUE(m);
    EXPECT_EQ(m->length(), i);
    const auto got = m->metadata();
    EXPECT_TRUE(std::equal(got.begin(), got.end(), bytes.begin(), bytes.end()));
    EXPECT_EQ(m->release(), Status::ok);
    EXPECT_TRUE(m->metadata().empty());
  }
}

TEST_P(Typed, AMessageThatIsGivenNoneHasNone) {
  create("q", {.slots = 1, .size = 256, .metadata = 16});
  auto p = producer();
  auto c = consumer();
  for (const bool gives : {true, false, true, false}) {
    auto loan = p.loan(kBound);
    ASSERT_TRUE(loan);
    if (gives) {
      ASSERT_EQ(loan->set_metadata(patterned(16, 1)), Status::ok);
    }
    ASSERT_EQ(loan->publish(8, kBound), Status::ok);
    auto m = c.receive(kBound);
    ASSERT_TRUE(m);
    EXPECT_EQ(m->metadata().size(), gives ? 16u : 0u);
  }
  ASSERT_EQ(p.send(patterned(200, 1), kBound), Status::ok);
  EXPECT_TRUE(c.receive(kBound)->metadata().empty());
  ASSERT_EQ(p.send(patterned(8, 1), kBound), Status::ok) << "in its line";
  EXPECT_TRUE(c.receive(kBound)->metadata().empty());
  create("without", {.slots = 1, .size = 256});
  auto q = producer("without");
  EXPECT_EQ(q.loan(kBound)->set_metadata(patterned(1, 1)), Status::too_large);
  EXPECT_EQ(q.loan(kBound)->set_metadata({}), Status::ok);
}

TEST_P(Typed, AValueLiesInTheMetadataThatHasRoomForIt) {
  create_as_is("q", {.slots = 2, .size = 1024, .metadata = sizeof(Scene)});
  auto p = typed_producer<Scene>();
  auto c = typed_consumer<Scene>();
  for (std::uint32_t i = 0; i < 3; ++i) {
    expect_sent(p, i);
    auto m = c.receive(kBound);
    ASSERT_TRUE(m);
    EXPECT_EQ(m->raw().metadata().size(), sizeof(Scene));
    EXPECT_LT(m->raw().length(), sizeof(Scene) + 2 * sizeof(Track) + 128);
    expect_scene(*m, i);
  }
  expect_sent(p, 7);
  expect_sent(p, 8);
  std::vector<std::uint32_t> seen;
  while (seen.size() < 2) {
    ASSERT_EQ(c.consume([&](const FlatView<Scene>& s) { seen.push_back(s->number); }, kBound).status, Status::ok);
  }
  EXPECT_THAT(seen, testing::ElementsAre(7, 8));
}

TEST_P(Typed, AHandlerSeesTheValueInThePayload) {
  create_as_is("q", {.slots = 2, .size = 1024, .handler = "identity", .metadata = sizeof(Scene)});
  auto p = typed_producer<Scene>();
  auto c = typed_consumer<Scene>();
  EXPECT_EQ(p.raw().metadata_for_values(), 0u);
  expect_sent(p, 4);
  auto m = c.receive(kBound);
  ASSERT_TRUE(m);
  EXPECT_TRUE(m->raw().metadata().empty());
  expect_scene(*m, 4);
}

TEST_P(Typed, WhatTheHandlerRefusesIsNoValue) {
  create_as_is("q", {.slots = 2, .size = 1024, .handler = "vector_add"});  // it refuses odd lengths
  auto p = typed_producer<std::uint8_t>();
  auto c = typed_consumer<std::uint8_t>();
  for (int i = 0; i < 3; ++i) ASSERT_EQ(p.send(7, kBound), Status::ok);
  EXPECT_EQ(c.receive(kBound).status(), Status::failed);
  std::uint8_t copy = 0;
  EXPECT_EQ(c.receive_into(copy, kBound), Status::failed);
  const BatchResult done = c.consume([](const std::uint8_t&) { ADD_FAILURE(); }, kBound);
  EXPECT_EQ(done.status, Status::failed);
  EXPECT_EQ(done.count, 1u);
  EXPECT_EQ(c.receive(Duration::zero()).status(), Status::empty);
}

TEST_P(Typed, ARefusedOpeningLeavesTheStreamAsItWas) {
  create("q", {.slots = 1, .size = 100});
  auto p = typed_producer<Tick>();
  auto c = typed_consumer<Tick>();
  EXPECT_THROW((void)typed_producer<FloatTick>(), UsageError);
  create("small", {.slots = 1, .size = 100});
  auto raw = producer("small");
  auto reader = consumer("small");
  EXPECT_THROW((void)typed_producer<Scene>("small"), UsageError);
  p.close();
  raw.close();
  EXPECT_EQ(c.receive(kBound).status(), Status::end);
  EXPECT_EQ(reader.receive(kBound).status(), Status::end);
}

TEST_P(Typed, ALoanThatWasPublishedIsEmpty) {
  create("q", {.slots = 2, .size = 1024});
  auto p = typed_producer<Scene>();
  auto loan = p.loan(kBound);
  ASSERT_TRUE(loan);
  TypedLoan<Scene> moved = std::move(*loan);
  EXPECT_EQ(loan->publish(kBound), Status::not_held);
  EXPECT_EQ(loan->capacity(), 0u);
  ASSERT_EQ(moved.publish(kBound), Status::ok);
  EXPECT_EQ(moved.capacity(), 0u);
  EXPECT_TRUE(moved.make(moved->tracks, 1).empty());
}

TEST_P(Typed, MetadataIsForwarded) {
  create_pool("pool", {.slots = 4, .size = 1024, .metadata = sizeof(Scene)});
  create_as_is("in", {.pool = "pool", .lines = 8});
  create_as_is("shared", {.pool = "pool", .lines = 8});
  create_as_is("own", {.slots = 2, .size = 1024, .lines = 8, .metadata = sizeof(Scene)});
  create_as_is("none", {.slots = 2, .size = 1024, .lines = 8});
  auto p = typed_producer<Scene>("in");
  auto c = typed_consumer<Scene>("in");
  for (const char* queue : {"shared", "own"}) {
    auto next = typed_producer<Scene>(queue);
    auto last = typed_consumer<Scene>(queue);
    expect_sent(p, 9);
    auto m = c.receive(kBound);
    ASSERT_TRUE(m);
    ASSERT_EQ(next.forward(*m, kBound), Status::ok) << queue;
    EXPECT_FALSE(*m);
    auto forwarded = last.receive(kBound);
    ASSERT_TRUE(forwarded);
    expect_scene(*forwarded, 9);
  }
  create_as_is("handled", {.pool = "pool", .lines = 8, .handler = "identity"});
  expect_sent(p, 9);
  auto m = c.receive(kBound);
  ASSERT_TRUE(m);
  auto handled = typed_producer<Scene>("handled");
  EXPECT_EQ(handled.forward(*m, kBound), Status::too_large) << "its handler would not see the value";
  EXPECT_TRUE(*m);
  auto none = producer("none");
  EXPECT_EQ(none.forward(m->raw(), kBound), Status::too_large) << "it has no room for the metadata";
  EXPECT_TRUE(*m);
}

}  // namespace
}  // namespace ipcq_test
