// One shared memory object: made, mapped, found and removed. What is wrong with a segment's content is in
// queue_map_test.cpp.
#include "queue/segment.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <utility>

#include "errors.hpp"
#include "ipcq/error.hpp"
#include "unit/child.hpp"

namespace ipcq::detail {
namespace {

using ipcq_test::Child;
using ipcq_test::error_of;
using testing::AllOf;
using testing::HasSubstr;

class SegmentTest : public testing::Test {
 protected:
  ~SegmentTest() override {
    for (const auto& name : own_segments(name_)) unlink_segment(name);
  }
  static std::string path_of(const std::string& name) { return "/dev/shm/" + name; }
  bool exists() const { return ::access(path_of(name_).c_str(), F_OK) == 0; }
  bool is_owned() const { return is_locked(open_segment(name_).get()); }
  Segment create(std::uint64_t bytes = 8192, const Segment::Access& access = {}) const {
    return Segment::create(name_, bytes, access);
  }
  // With a header that says so.
  Segment create_ready(std::uint64_t magic = kPoolMagic) const {
    Segment s = create();
    PoolHeader h{};
    h.segment.magic = magic;
    h.segment.total_bytes = s.size();
    h.segment.broker_pid = ::getpid();
    publish_header(s, h);
    return s;
  }

  const std::string name_ = "ipcq-segment-test-" + std::to_string(::getpid());
};

TEST_F(SegmentTest, IsThereWithAllItsSpaceWhileItsOwnerLives) {
  {
    const Segment s = create();
    EXPECT_EQ(s.size(), 8192u);
    EXPECT_EQ(s.name(), name_);
    struct stat status {};
    ASSERT_EQ(::stat(path_of(name_).c_str(), &status), 0);
    EXPECT_EQ(status.st_size, 8192);
    EXPECT_GE(status.st_blocks * 512, 8192);  // reserved, so that no write finds the file system full
    EXPECT_EQ(status.st_mode & 07777, 0600u);
    EXPECT_TRUE(is_owned());
    EXPECT_TRUE(std::all_of(s.data(), s.data() + s.size(), [](std::byte b) { return b == std::byte{0}; }));
  }
  EXPECT_FALSE(exists());
}

TEST_F(SegmentTest, HasTheModeAndGroupThatItsMakerChose) {
  const Segment s = create(8192, {.mode = 0660, .gid = ::getegid()});
  struct stat status {};
  ASSERT_EQ(::stat(path_of(name_).c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0660u);  // whatever the umask
  EXPECT_EQ(status.st_gid, ::getegid());
}

TEST_F(SegmentTest, IsNotMadeWhereOneHasItsName) {
  const Segment s = create();
  EXPECT_THAT(error_of<SystemError>([&] { (void)create(); }),
              AllOf(HasSubstr(name_), HasSubstr("shm_open(O_CREAT) failed"), HasSubstr("ipcq clean")));
  EXPECT_TRUE(exists());  // the other's
}

TEST_F(SegmentTest, WhichCannotBeReservedLeavesNothing) {
  EXPECT_THAT(error_of<SystemError>([&] { (void)create(std::uint64_t{1} << 50); }),
              AllOf(HasSubstr(name_), HasSubstr("posix_fallocate failed"), HasSubstr("are needed")));
  EXPECT_FALSE(exists());
}

TEST_F(SegmentTest, IsTheSameMemoryWhereItIsOpened) {
  const Segment s = create_ready();
  const Segment other = Segment::open(name_, kPoolMagic, 0);
  EXPECT_EQ(other.size(), s.size());
  EXPECT_NE(other.data(), s.data());
  other.data()[5000] = std::byte{7};
  EXPECT_EQ(s.data()[5000], std::byte{7});
}

TEST_F(SegmentTest, MovesWithItsNameAndLock) {
  Segment first = create_ready();
  std::byte* const data = first.data();
  Segment second = std::move(first);
  EXPECT_EQ(first.data(), nullptr);  // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(second.data(), data);
  first = Segment();
  EXPECT_TRUE(exists());
  EXPECT_TRUE(is_owned());
  second = Segment();
  EXPECT_FALSE(exists());
}

TEST_F(SegmentTest, WhoOpensItNeitherOwnsNorRemovesIt) {
  Segment s = create_ready();
  { const Segment other = Segment::open(name_, kPoolMagic, 0); }
  EXPECT_TRUE(exists());
  s.unlink();
  EXPECT_FALSE(exists());
  s.data()[0] = std::byte{1};  // the mapping stays
  // A name that is free again is another's.
  const Segment successor = create();
  s = Segment();
  EXPECT_TRUE(exists());
}

TEST_F(SegmentTest, AForkedChildsCopyRemovesNothing) {
  auto s = std::make_unique<Segment>(create());
  Child child([&] { s.reset(); });
  EXPECT_EQ(child.exit_code(), 0);
  EXPECT_TRUE(exists());
  EXPECT_TRUE(is_owned());
}

TEST_F(SegmentTest, ItsLockEndsWithItsOwner) {
  Child owner([&] {
    Segment s = create_ready();
    new Segment(std::move(s));  // and is killed before it could remove it
  });
  EXPECT_EQ(owner.exit_code(), 0);
  ASSERT_TRUE(exists());
  EXPECT_FALSE(is_owned());
  EXPECT_NO_THROW((void)Segment::open(name_, kPoolMagic, 0));
}

TEST_F(SegmentTest, ThatIsNotThereIsNotFound) {
  EXPECT_THAT(error_of<NotFoundError>([&] { (void)Segment::open(name_, kPoolMagic, 0); }),
              AllOf(HasSubstr(name_), HasSubstr("does not exist")));
}

TEST_F(SegmentTest, ThatThisUserMayNotOpenIsAPermissionError) {
  const Segment s = create_ready();
  Child another([&] {
    if (::geteuid() == 0 && ::setuid(65534) != 0) ::_exit(1);
    if (::chmod(path_of(name_).c_str(), 0) != 0 && errno != EPERM) ::_exit(2);
    const std::string text = error_of<PermissionError>([&] { (void)Segment::open(name_, kPoolMagic, 0); });
    ::_exit(text.find("shm_open failed") != std::string::npos ? 0 : 3);
  });
  EXPECT_EQ(another.exit_code(), 0);
}

TEST_F(SegmentTest, IsFoundByTheBeginningOfItsName) {
  const Segment s = create_ready(kQueueMagic);
  const std::string other = name_ + "-left";
  std::ofstream(path_of(other)) << "abc";
  std::filesystem::create_directory(path_of(name_ + "-directory"));
  std::filesystem::create_symlink(path_of(other), path_of(name_ + "-link"));
  auto found = find_segments(name_);
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  std::filesystem::remove(path_of(name_ + "-directory"));
  std::filesystem::remove(path_of(name_ + "-link"));
  ASSERT_EQ(found.size(), 2u);  // only files
  EXPECT_EQ(found[0].name, name_);
  EXPECT_EQ(found[0].bytes, s.size());
  EXPECT_TRUE(found[0].owned);
  EXPECT_EQ(found[0].pid, ::getpid());
  EXPECT_EQ(found[0].magic, kQueueMagic);
  EXPECT_EQ(found[1].name, other);
  EXPECT_EQ(found[1].bytes, 3u);
  EXPECT_FALSE(found[1].owned);
  EXPECT_EQ(found[1].pid, 0);
  EXPECT_TRUE(found[1].magic.has_value());
  EXPECT_TRUE(find_segments(name_ + "-none").empty());
}

TEST_F(SegmentTest, WhoseVersionIsAnothersTellsNoMaker) {
  const Segment s = create_ready();
  reinterpret_cast<SegmentHeader*>(s.data())->version.raw = 7;
  const auto found = find_segments(name_);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].pid, 0);
  EXPECT_EQ(found[0].magic, kPoolMagic);
}

TEST_F(SegmentTest, ALinkIsNotOpened) {
  const Segment s = create();
  const std::string link = name_ + "-link";
  std::filesystem::create_symlink(path_of(name_), path_of(link));
  EXPECT_FALSE(open_segment(link));
  EXPECT_EQ(errno, ELOOP);
  std::filesystem::remove(path_of(link));
  EXPECT_FALSE(open_segment(name_ + "-none"));
  unlink_segment(name_ + "-none");  // says nothing
}

}  // namespace
}  // namespace ipcq::detail
