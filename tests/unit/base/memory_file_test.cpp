// Files in memory, and their way to and from files of users.
#include "base/memory_file.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "errors.hpp"
#include "ipcq/error.hpp"
#include "unit/temporary_directory.hpp"

namespace ipcq::detail {
namespace {

using ipcq_test::error_of;
using testing::AllOf;
using testing::HasSubstr;

class MemoryFileTest : public testing::Test {
 protected:
  std::string path(const std::string& name) const { return directory_.at(name); }
  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(path(name), std::ios::binary) << text;
    return path(name);
  }
  std::string content(const std::string& name) const {
    std::ifstream file(path(name), std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  static std::string text_in(const Fd& file, std::uint64_t bytes) {
    const MappedFile mapped(file.get(), bytes, MappedFile::For::reading, "it");
    return {reinterpret_cast<const char*>(mapped.data()), bytes};
  }
  ipcq_test::TemporaryDirectory directory_;
};

TEST_F(MemoryFileTest, BeginsAsZerosOfASizeThatNobodyCanChange) {
  const Fd file = make_memory_file(10'000, "it");
  EXPECT_EQ(size_of(file.get(), "it"), 10'000u);
  EXPECT_TRUE(is_all_zero(file.get()));
  EXPECT_EQ(text_in(file, 10'000), std::string(10'000, '\0'));
  EXPECT_NE(::ftruncate(file.get(), 9'999), 0);
  EXPECT_NE(::ftruncate(file.get(), 10'001), 0);
  write_at_begin(file.get(), "abc", "it");
  EXPECT_FALSE(is_all_zero(file.get()));
  EXPECT_EQ(text_in(file, 4), std::string("abc\0", 4));
}

TEST_F(MemoryFileTest, OnceFrozenIsReadAndNotWritten) {
  const Fd file = make_memory_file(4096, "it");
  {
    const MappedFile writer(file.get(), 4096, MappedFile::For::writing, "it");
    std::memcpy(writer.data(), "abc", 3);
    EXPECT_FALSE(freeze(file.get()));
  }
  ASSERT_TRUE(freeze(file.get()));
  EXPECT_EQ(text_in(file, 3), "abc");
  EXPECT_EQ(::pwrite(file.get(), "x", 1, 0), -1);
  EXPECT_THAT(
      error_of<PermissionError>([&] { const MappedFile writer(file.get(), 4096, MappedFile::For::writing, "it"); }),
      HasSubstr("it: mmap failed"));
}

TEST_F(MemoryFileTest, ASmallerFileThanIsNeededIsNotMapped) {
  const Fd file = make_memory_file(100, "it");
  EXPECT_THAT(error_of<SystemError>([&] { const MappedFile m(file.get(), 101, MappedFile::For::reading, "it"); }),
              HasSubstr("it: fstat failed"));
}

TEST_F(MemoryFileTest, TakesWhatAFileHasAndZerosBehindIt) {
  const std::string large(3'000'001, 'x');
  const Fd file = make_memory_file(large.size() + 5, "it");
  read_into(file.get(), large.size() + 5, write("large", large), "it");
  EXPECT_TRUE(text_in(file, large.size() + 5) == large + std::string(5, '\0'));
  const Fd same = make_memory_file(large.size(), "it");
  read_into(same.get(), large.size(), path("large"), "it");
  EXPECT_TRUE(text_in(same, large.size()) == large);
}

TEST_F(MemoryFileTest, WhatDoesNotFitIsRefusedInWords) {
  const Fd file = make_memory_file(3, "it");
  EXPECT_THAT(error_of<UsageError>([&] { read_into(file.get(), 3, write("four", "abcd"), "it"); }),
              AllOf(HasSubstr("it: state file '" + path("four") + "': has 4 bytes, the state 3")));
  EXPECT_THAT(error_of<NotFoundError>([&] { read_into(file.get(), 3, path("absent"), "it"); }),
              HasSubstr("absent': there is no such file"));
  EXPECT_THAT(error_of<UsageError>([&] { read_into(file.get(), 3, path(""), "it"); }), HasSubstr("no regular file"));
  ASSERT_EQ(::mkfifo(path("fifo").c_str(), 0600), 0);
  EXPECT_THAT(error_of<UsageError>([&] { read_into(file.get(), 3, path("fifo"), "it"); }),
              HasSubstr("no regular file"));
  EXPECT_THAT(error_of<SystemError>([&] { read_into(file.get(), 3, path("four/x"), "it"); }),
              HasSubstr("a directory on that path is a file"));
  EXPECT_TRUE(is_all_zero(file.get()));
}

TEST_F(MemoryFileTest, ASavedFileTakesThePlaceOfTheOneBefore) {
  const std::string large(2'500'000, 'y');
  const Fd file = make_memory_file(large.size(), "it");
  write_at_begin(file.get(), large, "it");
  (void)write("saved", "before");
  const Fd reader(::open(path("saved").c_str(), O_RDONLY));
  write_out(file.get(), path("saved"), "it");
  EXPECT_TRUE(content("saved") == large);
  struct stat s {};
  ASSERT_EQ(::stat(path("saved").c_str(), &s), 0);
  EXPECT_EQ(s.st_mode & 0777u, 0600u);
  char before[7] = {};
  EXPECT_EQ(::read(reader.get(), before, 6), 6);
  EXPECT_STREQ(before, "before");
}

TEST_F(MemoryFileTest, ASaveThatFailsLeavesNothing) {
  const Fd file = make_memory_file(5, "it");
  std::filesystem::create_directory(path("folder"));
  EXPECT_THAT(error_of<SystemError>([&] { write_out(file.get(), path("folder"), "it"); }),
              AllOf(HasSubstr("it: state file '"), HasSubstr("a directory has that name")));
  EXPECT_THAT(error_of<SystemError>([&] { write_out(file.get(), path("no/file"), "it"); }),
              HasSubstr("its directory does not exist"));
  std::size_t left = 0;
  for (const auto& entry : std::filesystem::directory_iterator(directory_.path())) left += entry.exists() ? 1 : 0;
  EXPECT_EQ(left, 1u) << "the folder";
}

}  // namespace
}  // namespace ipcq::detail
