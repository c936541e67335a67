// Users' own handlers that were compiled before a queue names them, and those of the C contract.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>
#include <random>
#include <span>
#include <sstream>
#include <string>
#include <vector>

#include "own_handlers/on_backend.hpp"

namespace ipcq_test {
namespace {

class CompiledHandlerTest : public OnBackend {
 protected:
  // One with kernels for the GPU that is there, or played.
  static std::string built_ahead() {
    return is_played() ? std::getenv("IPCQ_BUILT_HANDLER") : beside_this_test(IPCQ_BUILT_HANDLER);
  }
  static bool is_played() { return kOnGpu && std::getenv("IPCQ_BUILT_HANDLER") != nullptr; }
  // What c_step.cu does to single messages: those that fit into a line, those of one block, and of several.
  void expect_steps(const std::string& queue) {
    auto c = session().consumer(queue);
    auto p = session().producer(queue);
    for (const std::size_t length : {3, 60, 1000, 8192, 200000}) {
      for (const bool fails : {false, true, false}) {
        std::string text(length, 'a'), expected(length, 'b');
        if (fails) text[0] = 'x', expected[0] = 'y';
        const auto m = exchange(p, c, text);
        ASSERT_TRUE(m);
        EXPECT_EQ(m->processed(), !fails) << length;
        EXPECT_EQ(m->failure(), fails ? 7 : 0);
        EXPECT_EQ(text_of(*m), expected) << length;
      }
    }
    EXPECT_TRUE(eventually([&] { return stats(queue).handler_errors == 5; })) << stats(queue).handler_errors;
  }
  // On each executor there is.
  void expect_handler_of_the_c_contract(const std::string& file) {
    SCOPED_TRACE(file);
    QueueOptions o = options(file);
    o.size = 1 << 20;
    const std::string queue = "q" + std::to_string(++queues_);
    broker().create(queue, o);
    expect_steps(queue);
    if (!kOnGpu) return;
    o.executor = ExecutorKind::stream;
    broker().create(queue + "-stream", o);
    expect_steps(queue + "-stream");
  }

 private:
  int queues_ = 0;
};

// By ipcq_add_handler(), for the host and for a GPU in one file, with CUB where it is a real one.
TEST_F(CompiledHandlerTest, OneThatWasBuiltAheadIsUsedAsItIs) {
  const std::string file = built_ahead();
  broker().create("up", options(file));
  broker().create("down", options(file + ":descending=yes"));
  for (const bool descending : {false, true}) {
    const std::string queue = descending ? "down" : "up";
    auto c = session().consumer(queue);
    auto p = session().producer(queue);
    for (const std::size_t count : {4, 16, 1024}) {
      std::vector<std::uint32_t> numbers(count);
      std::mt19937 random(static_cast<unsigned>(count));
      for (auto& n : numbers) n = random();
      ASSERT_EQ(p.send(numbers, kBound), Status::ok);
      const auto m = c.receive(kBound);
      ASSERT_TRUE(m) << to_string(m.status());
      EXPECT_TRUE(m->processed());
      for (std::size_t i = 0; i < count; i += 4) {
        const auto first = numbers.begin() + static_cast<std::ptrdiff_t>(i);
        descending ? std::sort(first, first + 4, std::greater<>()) : std::sort(first, first + 4);
      }
      ASSERT_EQ(m->length(), count * sizeof numbers[0]);
      EXPECT_EQ(std::memcmp(m->bytes().data(), numbers.data(), m->length()), 0) << queue << ", " << count;
    }
  }
}

TEST_F(CompiledHandlerTest, OneThatWasBuiltAheadIsRefusedWhereItDoesNotFit) {
  const std::string for_host = beside_this_test(IPCQ_BUILT_FOR_HOST);
  if (kOnGpu) {
    EXPECT_THAT(error_of<UsageError>([&] { broker().create("q", options(for_host)); }),
                AllOf(HasSubstr("queue 'q': its handler cannot be used:\n  "), HasSubstr(for_host),
                      HasSubstr("has code for the host alone")));
  }
  EXPECT_THAT(error_of<UsageError>([&] { broker().create("q", options(write("text.so", "no library"))); }),
              HasSubstr("text.so' is no shared object"));
  QueueOptions o = options(for_host);
  o.defines = {"X"};
  EXPECT_THAT(error_of<UsageError>([&] { broker().create("q", o); }), HasSubstr("is compiled already"));
  EXPECT_THAT(error_of<UsageError>([&] { broker().create("q", options(built_ahead() + ":ascending=yes")); }),
              AllOf(HasSubstr("it has no parameter 'ascending'"), HasSubstr("descending")));
}

TEST_F(CompiledHandlerTest, OneOfTheCContractSaysByItsCodeHowItWent) {
  expect_handler_of_the_c_contract(beside_this_test("c_step.cu"));
}

// A source, or the same compiled by the project's C compiler to an object, which is linked.
TEST_F(CompiledHandlerTest, OneOfTheCContractDropsRefusesAndChangesTheLength) {
  std::vector<std::string> files = {beside_this_test("c_words.cu")};
  if (!kOnGpu) files.push_back(beside_this_test("c_words.o"));
  for (std::size_t i = 0; i < files.size(); ++i) {
    SCOPED_TRACE(files[i]);
    const std::string queue = "q" + std::to_string(i);
    broker().create(queue, options(files[i]));
    auto c = session().consumer(queue);
    auto p = session().producer(queue);
    for (const std::size_t length : {4, 60, 1000}) {
      const auto send = [&](char first) {
        std::string text(length, 'a');
        text[0] = first;
        ASSERT_EQ(p.send(text.data(), length, kBound), Status::ok);
      };
      for (const char first : {'d', 's', 'g', 'b', 'r', 'f', 'a'}) send(first);
      const auto next = [&] {
        auto m = c.receive(kBound);
        EXPECT_TRUE(m) << to_string(m.status());
        return m;
      };
      EXPECT_EQ(text_of(*next()), "s");  // and none that begins with 'd'
      EXPECT_EQ(next()->length(), length + 1);
      const auto beyond = next();
      EXPECT_EQ(beyond->failure(), 1);
      EXPECT_EQ(beyond->length(), length);
      const auto refused = next();
      EXPECT_FALSE(refused->processed());
      EXPECT_FALSE(refused->failed());
      EXPECT_EQ(refused->length(), length);
      EXPECT_EQ(next()->failure(), 255);
      EXPECT_TRUE(next()->processed());
    }
  }
}

TEST_F(CompiledHandlerTest, AnObjectIsForTheHostUnlessDeviceCodeIsInIt) {
  if (is_played()) GTEST_SKIP() << "the compiler for a GPU that the CPU plays takes source text alone";
  if (kOnGpu) {
    EXPECT_THAT(error_of<UsageError>([&] { broker().create("q", options(beside_this_test("c_words.o"))); }),
                AllOf(HasSubstr("queue 'q': its handler cannot be used:\n"), HasSubstr("has code for the host alone")));
  }
  QueueOptions o = options(write("text.o", "no object"));
  EXPECT_THAT(error_of<UsageError>([&] { broker().create("q", o); }), HasSubstr("text.o' is no object file"));
  o = options(write("other.o", [] {
    std::ifstream library(std::string(beside_this_test(IPCQ_BUILT_FOR_HOST)), std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(library), {});
  }()));
  EXPECT_THAT(error_of<UsageError>([&] { broker().create("q", o); }),
              HasSubstr("other.o' is no object file, but another kind of ELF file"));
  o.defines = {"X"};
  EXPECT_THAT(error_of<UsageError>([&] { broker().create("q", o); }), HasSubstr("is compiled already"));
}

// One message at a time, in their order.
TEST_F(CompiledHandlerTest, OneOfTheCContractHasTheQueuesState) {
  const std::string file = write("counts.cu",
                                 "#include <ipcq/handler.h>\n"
                                 "IPCQ_C_HANDLER int32_t ipcq_handle(void* data, uint64_t length, const struct "
                                 "ipcq_context* context) {\n"
                                 "  if (context->state_bytes == 0 || length < 8) return 1;\n"
                                 "  if (context->rank == 0) *(uint64_t*)data = ++*(uint64_t*)context->state;\n"
                                 "  return 0;\n"
                                 "}\n");
  QueueOptions o = options(file);
  o.executor = kOnGpu ? ExecutorKind::persistent : ExecutorKind::auto_;
  broker().create("without", o);
  o.state_bytes = 64;
  broker().create("q", o);
  o.executor = kOnGpu ? ExecutorKind::stream : ExecutorKind::auto_;
  broker().create("other", o);
  for (const char* const queue : {"q", "other"}) {
    auto c = session().consumer(queue);
    auto p = session().producer(queue);
    constexpr std::size_t kLengths[] = {8, 64, 8192, 16, 1000};
    for (int round = 0; round < 4; ++round) {
      for (const std::size_t length : kLengths) {
        ASSERT_EQ(p.send(std::string(length, 'a').data(), length, kBound), Status::ok);
      }
      for (std::uint64_t n = 1; n <= std::size(kLengths); ++n) {
        const auto m = c.receive(kBound);
        ASSERT_TRUE(m) << to_string(m.status());
        std::uint64_t count = 0;
        std::memcpy(&count, m->bytes().data(), sizeof count);
        EXPECT_EQ(count, static_cast<std::uint64_t>(round) * std::size(kLengths) + n) << queue;
      }
    }
  }
  auto c = session().consumer("without");
  auto p = session().producer("without");
  EXPECT_EQ(exchange(p, c, "12345678")->failure(), 1);
}

TEST_F(CompiledHandlerTest, OneOfTheCContractSeesEachRecordOfABatch) {
  QueueOptions o = options(beside_this_test("c_step.cu"));
  o.batch = Batch::records;
  broker().create("q", o);
  auto c = session().consumer("q");
  auto p = session().producer("q");
  const std::array<std::string, 3> texts = {std::string(100, 'a'), "xa", std::string(300, 'y')};
  std::array<std::span<const std::byte>, 3> payloads;
  for (std::size_t i = 0; i < texts.size(); ++i) payloads[i] = std::as_bytes(std::span(texts[i]));
  ASSERT_EQ(p.send_many(payloads, kBound).count, 3u);
  for (const std::string& expected : {std::string(100, 'b'), std::string("yb"), std::string(300, 'z')}) {
    const auto m = c.receive(kBound);
    ASSERT_TRUE(m) << to_string(m.status());
    EXPECT_EQ(text_of(*m), expected);
    EXPECT_EQ(m->processed(), expected != "yb");
  }
}

// By nvcc, and by Numba where it was there.
TEST_F(CompiledHandlerTest, DeviceCodeOfOtherCompilersIsForAGpu) {
  if (kOnGpu) {
    std::istringstream files(IPCQ_C_HANDLER_CODE);
    for (std::string file; std::getline(files, file, ':');) expect_handler_of_the_c_contract(beside_this_test(file));
    return;
  }
  for (const char* const name : {"code.ptx", "code.ltoir"}) {
    EXPECT_THAT(error_of<UsageError>([&] { broker().create("q", options(write(name, "code"))); }),
                AllOf(HasSubstr("queue 'q': its handler cannot be used:\n"), HasSubstr(name),
                      HasSubstr("is code for a GPU, and the queue is on the host")));
  }
}

}  // namespace
}  // namespace ipcq_test
