// Handlers that work on flat values (ipcq/flat.hpp), compiled at the creation of their queue.
#include <algorithm>
#include <array>
#include <vector>

#include "ipcq/flat_writer.hpp"
#include "own_handlers/on_backend.hpp"

namespace ipcq_test {
namespace {

struct Reading {
  std::uint32_t sensor;
  List<float> samples;
  Tensor image;
};
IPCQ_SCHEMA(Reading, sensor, samples, image)

class TypedHandlerTest : public ByEachExecutor {};
INSTANTIATE_TEST_SUITE_P(, TypedHandlerTest, testing::ValuesIn(ByEachExecutor::all()), ByEachExecutor::name_of);

// Doubles the samples, adds one to the image, and fails with 9 on what is no value.
constexpr const char* kBefore =
    "#include <ipcq/flat.hpp>\n"
    "struct Reading { std::uint32_t sensor; ipcq::List<float> samples; ipcq::Tensor image; };\n"
    "IPCQ_SCHEMA(Reading, sensor, samples, image)\n";
constexpr const char* kCall =
    "    const ipcq::FlatEditor<Reading> reading(m.data, m.length);\n"
    "    if (!reading.is_sound()) return m.fail(9);\n"
    "    const auto samples = reading.edit(reading->samples);\n"
    "    for (std::uint64_t i = team.rank(); i < samples.size(); i += team.size()) samples[i] *= 2;\n"
    "    const auto image = reading.edit<unsigned char>(reading->image);\n"
    "    for (std::uint64_t i = team.rank(); i < image.size(); i += team.size()) ++image[i];";

TEST_P(TypedHandlerTest, ChangesListsAndTensorsInPlace) {
  broker().create("q", options(full("typed.cu", kCall, "", "", "", kBefore)));
  auto c = session().consumer<Reading>("q");
  auto p = session().producer<Reading>("q");
  for (const std::uint32_t n : {1U, 100U, 1500U}) {
    auto loan = p.loan(kBound);
    ASSERT_TRUE(loan);
    (*loan)->sensor = n;
    for (auto& s : loan->make((*loan)->samples, n)) s = 1.5F;
    for (auto& b : loan->make<unsigned char>((*loan)->image, {n})) b = 7;
    ASSERT_EQ(loan->publish(kBound), Status::ok);
    const auto m = c.receive(kBound);
    ASSERT_TRUE(m) << to_string(m.status());
    EXPECT_TRUE(m->raw().processed());
    EXPECT_EQ((*m)->sensor, n);
    const auto samples = m->get((*m)->samples);
    EXPECT_EQ(samples.size(), n);
    EXPECT_TRUE(std::all_of(samples.begin(), samples.end(), [](float s) { return s == 3; }));
    const auto image = m->get((*m)->image).elements<unsigned char>();
    EXPECT_EQ(image.size(), n);
    EXPECT_TRUE(std::all_of(image.begin(), image.end(), [](unsigned char b) { return b == 8; }));
  }
}

TEST_P(TypedHandlerTest, SeesThatAMessageIsNoValue) {
  broker().create("q", options(full("typed.cu", kCall, "", "", "", kBefore)));
  auto c = session().consumer("q");
  auto p = session().producer("q");
  alignas(8) std::array<std::byte, 1024> room{};
  FlatWriter<Reading> reading(room);
  reading.make(reading->samples, 10);
  reading.make<unsigned char>(reading->image, {4});
  reading->samples.count = 1000;
  ASSERT_EQ(p.send(reading.bytes(), kBound), Status::ok);
  const auto m = c.receive(kBound);
  ASSERT_TRUE(m) << to_string(m.status());
  EXPECT_TRUE(m->failed());
  EXPECT_EQ(m->failure(), 9);
}

}  // namespace
}  // namespace ipcq_test
