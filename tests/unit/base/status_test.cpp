// The words for values that users see: ipcq/status.hpp, ipcq/wait.hpp, ipcq/options.hpp.
#include "ipcq/status.hpp"

#include <gmock/gmock.h>

#include <string>
#include <utility>

#include "errors.hpp"
#include "ipcq/error.hpp"
#include "ipcq/options.hpp"
#include "ipcq/wait.hpp"

namespace ipcq_test {
namespace {

using namespace ipcq;
using testing::HasSubstr;

TEST(StatusText, EachValueHasItsWord) {
  const std::pair<Status, const char*> words[] = {{Status::ok, "ok"},
                                                  {Status::full, "full"},
                                                  {Status::empty, "empty"},
                                                  {Status::timeout, "timeout"},
                                                  {Status::end, "end"},
                                                  {Status::closed, "closed"},
                                                  {Status::peer_dead, "peer_dead"},
                                                  {Status::interrupted, "interrupted"},
                                                  {Status::too_large, "too_large"},
                                                  {Status::not_held, "not_held"},
                                                  {Status::unreachable, "unreachable"}};
  for (const auto& [status, word] : words) EXPECT_EQ(to_string(status), word);
  EXPECT_EQ(to_string(static_cast<Status>(99)), "unknown");
}

TEST(StatusText, OptionsHaveTheWordsOfTheCommandLine) {
  EXPECT_EQ(to_string(Backpressure::block), "block");
  EXPECT_EQ(to_string(Backpressure::reject), "reject");
  EXPECT_EQ(to_string(Backpressure::drop_oldest), "drop-oldest");
  EXPECT_EQ(to_string(Batch::messages), "messages");
  EXPECT_EQ(to_string(Batch::records), "records");
  EXPECT_EQ(to_string(static_cast<Batch>(2)), "unknown");
  EXPECT_EQ(to_string(ExecutorKind::auto_), "auto");
  EXPECT_EQ(to_string(ExecutorKind::persistent), "persistent");
  EXPECT_EQ(to_string(ExecutorKind::stream), "stream");
}

TEST(StatusText, AWaitIsParsedFromItsWord) {
  for (const Wait wait : {Wait::spin(), Wait::hybrid(), Wait::sleep()}) {
    EXPECT_EQ(parse_wait(to_string(wait.kind())).kind(), wait.kind());
  }
  for (const char* const text : {"", "Spin", "spin ", "nap"}) {
    EXPECT_THAT(error_of<UsageError>([&] { (void)parse_wait(text); }), HasSubstr("use spin, hybrid or sleep")) << text;
  }
}

TEST(ResultText, AnAbsentValueIsToldWithItsStatus) {
  EXPECT_THAT(error_of<StatusError>([] { detail::throw_no_value(Status::timeout); }), HasSubstr("came to timeout"));
}

}  // namespace
}  // namespace ipcq_test
