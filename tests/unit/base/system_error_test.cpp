// What a failed system call is told to help against: the table of call and errno, its twin in the documents, and the
// places that throw.
#include "base/system_error.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "errors.hpp"
#include "ipcq/error.hpp"

namespace {

using namespace ipcq;
using namespace ipcq::detail;
using ipcq_test::error_of;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

std::string text_of(const std::filesystem::path& file) {
  std::ifstream in(file);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

// Rows of the Markdown table that follows `heading`, their cells without back-quotes.
std::vector<std::vector<std::string>> table_below(const std::string& heading) {
  std::istringstream lines(text_of(std::filesystem::path(IPCQ_SOURCE_DIR) / "docs/design/errors.md"));
  std::vector<std::vector<std::string>> rows;
  bool here = false;
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind("## ", 0) == 0) here = line == "## " + heading;
    if (!here || line.empty() || line[0] != '|') continue;
    std::vector<std::string> cells;
    std::istringstream row(line.substr(2, line.size() - 4));
    for (std::string cell; std::getline(row, cell, '|');) {
      const auto first = cell.find_first_not_of(' ');
      cells.push_back(first == std::string::npos ? "" : cell.substr(first, cell.find_last_not_of(' ') - first + 1));
    }
    rows.push_back(cells);
  }
  if (rows.size() > 2) rows.erase(rows.begin(), rows.begin() + 2);  // titles and rule
  return rows;
}

std::string unquoted(std::string text) {
  std::erase(text, '`');
  return text;
}

// Names of the calls that any source throws an error for.
std::set<std::string> calls_in_sources() {
  std::set<std::string> calls;
  const std::regex site("throw_system\\([^\";{]*\"([^\"]+)\"");
  for (const char* room : {"libipcq/src", "libipcq/cuda", "runner"}) {
    const auto root = std::filesystem::path(IPCQ_SOURCE_DIR) / room;
    for (const auto& file : std::filesystem::recursive_directory_iterator(root)) {
      if (file.path().extension() != ".cpp") continue;
      const std::string text = text_of(file.path());
      for (std::sregex_iterator m(text.begin(), text.end(), site), end; m != end; ++m) calls.insert((*m)[1]);
    }
  }
  return calls;
}

std::set<std::string> calls_in_document() {
  std::set<std::string> calls;
  for (const auto& row : table_below("The calls")) {
    std::istringstream names(unquoted(row[0]));
    for (std::string name; std::getline(names >> std::ws, name, ',');) calls.insert(name);
  }
  return calls;
}

TEST(Remedies, AreThoseOfTheDocument) {
  const auto rows = table_below("The remedies");
  ASSERT_EQ(rows.size(), remedies().size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const Remedy& r = remedies()[i];
    EXPECT_EQ(unquoted(rows[i][0]), r.call.empty() ? "any other" : r.call) << "row " << i;
    EXPECT_EQ(unquoted(rows[i][1]), strerrorname_np(r.code)) << "row " << i;
    EXPECT_EQ(rows[i][2], r.sentence) << "row " << i;
  }
}

TEST(Remedies, AreOfCallsThatTheSourcesMake) {
  const auto made = calls_in_sources();
  const auto listed = calls_in_document();
  EXPECT_GT(made.size(), 20u);
  for (const auto& call : made) EXPECT_TRUE(listed.count(call)) << call << " is not in docs/design/errors.md";
  for (const auto& call : listed) EXPECT_TRUE(made.count(call)) << call << " is in docs/design/errors.md alone";
  for (const Remedy& r : remedies()) {
    EXPECT_TRUE(r.call.empty() || made.count(std::string(r.call))) << r.call << " has a remedy, and nobody calls it";
  }
}

TEST(Remedies, AreReached) {
  for (const Remedy& r : remedies()) {
    EXPECT_EQ(remedy_for(r.call.empty() ? "no such call" : r.call, r.code), r.sentence)
        << r.call << " " << strerrorname_np(r.code) << ": an earlier row hides it";
  }
}

// A shortage is never told as something else, whichever call it strikes.
TEST(Remedies, FollowFromTheErrno) {
  for (const auto& call : calls_in_sources()) {
    EXPECT_THAT(std::string(remedy_for(call, EMFILE)), HasSubstr("ulimit -n")) << call;
    EXPECT_THAT(std::string(remedy_for(call, ENFILE)), HasSubstr("fs.file-max")) << call;
    EXPECT_THAT(std::string(remedy_for(call, ENOMEM)), HasSubstr("memory")) << call;
    for (const int code : {EMFILE, ENFILE, ENOMEM, ENOBUFS, ENOSPC, EDQUOT, EROFS, EAGAIN, ENAMETOOLONG, EFBIG}) {
      const std::string sentence(remedy_for(call, code));
      EXPECT_THAT(sentence, AllOf(Not(HasSubstr("run as")), Not(HasSubstr("let this user")), Not(HasSubstr("5.3"))))
          << call << " " << strerrorname_np(code);
    }
    for (const int code : {EACCES, EPERM, ENOENT}) {
      EXPECT_THAT(std::string(remedy_for(call, code)), AllOf(Not(HasSubstr("ulimit")), Not(HasSubstr("--shm-size"))))
          << call << " " << strerrorname_np(code);
    }
  }
  EXPECT_THAT(std::string(remedy_for("pthread_create", EAGAIN)), AllOf(HasSubstr("ulimit -u"), HasSubstr("pids.max")));
  EXPECT_THAT(std::string(remedy_for("mmap", ENOMEM)), AllOf(HasSubstr("ulimit -v"), HasSubstr("vm.max_map_count")));
  EXPECT_THAT(std::string(remedy_for("shm_open(O_CREAT)", ENOSPC)), HasSubstr("nr_inodes"));
  EXPECT_THAT(std::string(remedy_for("shm_open(O_CREAT)", EROFS)), HasSubstr("rw /dev/shm"));
  EXPECT_THAT(std::string(remedy_for("shm_open(O_CREAT)", ENOENT)), HasSubstr("mount -t tmpfs"));
  EXPECT_THAT(std::string(remedy_for("posix_fallocate", ENOSPC)), HasSubstr("--shm-size"));
  EXPECT_THAT(std::string(remedy_for("posix_fallocate", EFBIG)), HasSubstr("ulimit -f"));
  EXPECT_THAT(std::string(remedy_for("pidfd_open", ENOSYS)), HasSubstr("Linux 5.3"));
  EXPECT_EQ(remedy_for("chmod", EBADF), "");
}

TEST(ThrowSystem, NamesObjectCallCauseCircumstancesAndRemedy) {
  const auto text = error_of<PermissionError>([] { throw_system(EACCES, "shm_open", "segment s", "it is old"); });
  EXPECT_EQ(text,
            "segment s: shm_open failed: Permission denied (it is old; run as the broker's user, or as a member "
            "of its --unix-group)");
  EXPECT_EQ(error_of<SystemError>([] { throw_system(EBADF, "fstat", "broker answer"); }),
            "broker answer: fstat failed: Bad file descriptor");
  try {
    throw_system(EMFILE, "socket", "x");
    ADD_FAILURE();
  } catch (const SystemError& e) {
    EXPECT_EQ(e.code(), EMFILE);
  }
}

TEST(ThrowSystem, SaysHowHighALimitIsAndOfWhichProcess) {
  rlimit limit{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  ASSERT_NE(limit.rlim_cur, RLIM_INFINITY);
  EXPECT_THAT(error_of<SystemError>([] { throw_system(EMFILE, "eventfd", "x"); }),
              HasSubstr("process " + std::to_string(getpid()) + " is limited to " + std::to_string(limit.rlim_cur) +
                        " open files"));
}

}  // namespace
