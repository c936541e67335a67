#include "broker/kept_state.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <string>

#include "base/memory_file.hpp"
#include "control/control.hpp"
#include "errors.hpp"
#include "ipcq/error.hpp"
#include "unit/temporary_directory.hpp"

namespace ipcq::detail {
namespace {

using ipcq_test::error_of;
using testing::HasSubstr;

TEST(KeptState, IsNoneWithoutASize) { EXPECT_EQ(first_state("queue 'q'", {}), nullptr); }

TEST(KeptState, BeginsAsZerosOrAsAFileSays) {
  const auto zeros = first_state("queue 'q'", {.state_bytes = 10});
  EXPECT_EQ(zeros->bytes, 10u);
  EXPECT_EQ(read_memfd(zeros->content.get()), std::string(10, '\0'));
  EXPECT_EQ(zeros->as, "as it was at the queue's creation");
  const ipcq_test::TemporaryDirectory directory;
  std::ofstream(directory.at("begin")) << "abc";
  const auto begun = first_state("queue 'q'", {.state_bytes = 4, .state_file = directory.at("begin")});
  EXPECT_EQ(read_memfd(begun->content.get()), std::string("abc\0", 4));
  EXPECT_THAT(error_of<UsageError>(
                  [&] { (void)first_state("queue 'q'", {.state_bytes = 2, .state_file = directory.at("begin")}); }),
              HasSubstr("queue 'q': state file"));
}

TEST(KeptState, NobodyCanChangeIt) {
  const auto kept = first_state("queue 'q'", {.state_bytes = 10});
  EXPECT_EQ(::pwrite(kept->content.get(), "x", 1, 0), -1);
  Fd file = make_memory_file(10, "it");
  const MappedFile writer(file.get(), 10, MappedFile::For::writing, "it");
  EXPECT_THAT(error_of<UsageError>([&] { (void)keep_state(std::move(file), 10, "as it is", "queue 'q'"); }),
              HasSubstr("queue 'q': its new state is still mapped"));
}

}  // namespace
}  // namespace ipcq::detail
