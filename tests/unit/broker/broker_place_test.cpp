// Where a broker is, and what is called after that. Brokers at such places are in process/broker_place_test.cpp.
#include "broker/broker_place.hpp"

#include <gmock/gmock.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <string>

#include "errors.hpp"
#include "ipcq/error.hpp"
#include "unit/environment.hpp"
#include "unit/temporary_directory.hpp"

namespace ipcq::detail {
namespace {

namespace fs = std::filesystem;
using ipcq_test::error_of;
using testing::AllOf;
using testing::HasSubstr;
using Use = BrokerPlace::Use;

class Place : public testing::Test {
 protected:
  std::string at(const std::string& file) const { return directory_.at(file); }
  std::string refusal(const std::string& name_or_path) const {
    return error_of<UsageError>([&] { const BrokerPlace place(name_or_path, Use::serve); });
  }

  const ipcq_test::TemporaryDirectory directory_;
  const ipcq_test::Environment run_{"XDG_RUNTIME_DIR", directory_.path()};
};

TEST_F(Place, OfANameIsASocketInTheRunDirectory) {
  const BrokerPlace place("video", Use::serve);
  EXPECT_EQ(place.name(), "video");
  EXPECT_EQ(place.socket_path(), at("ipcq/video.sock"));
  EXPECT_EQ(place.socket_file(), "video.sock");
  EXPECT_EQ(place.address(), place.socket_path());
  EXPECT_EQ(place.lock_path(), at("ipcq/video.sock.ipcq-lock"));
  EXPECT_EQ(place.tag(), tag_of(place.socket_path()));
  EXPECT_TRUE(place.in_run_directory());
  EXPECT_EQ(place.closed(), "");
  EXPECT_TRUE(fs::is_directory(at("ipcq")));
}

TEST_F(Place, ToLookAtMakesNothing) {
  EXPECT_THROW(BrokerPlace("video", Use::look), UsageError);
  EXPECT_FALSE(fs::exists(at("ipcq")));
}

TEST_F(Place, IsOneHoweverItIsSpelled) {
  const BrokerPlace named("video", Use::serve);
  fs::create_symlink(at("ipcq"), at("link"));
  for (const auto& spelling : {at("ipcq/video.sock"), at("link/video.sock"), at("ipcq/../ipcq/./video.sock")}) {
    const BrokerPlace place(spelling, Use::look);
    EXPECT_EQ(place.name(), "video") << spelling;
    EXPECT_EQ(place.tag(), named.tag()) << spelling;
    EXPECT_TRUE(is_same_file(place.directory_status(), named.directory_status()));
  }
  const BrokerPlace elsewhere(at("video.sock"), Use::serve);
  EXPECT_EQ(elsewhere.name(), at("video.sock"));
  EXPECT_NE(elsewhere.tag(), named.tag());
  EXPECT_FALSE(elsewhere.in_run_directory());
}

TEST_F(Place, OfASocketThatIsNoNamesIsCalledByItsPath) {
  const BrokerPlace named("video", Use::serve);
  for (const char* const file : {"ipcq/video", "ipcq/.sock", "ipcq/-v.sock", "ipcq/a b.sock"}) {
    EXPECT_EQ(BrokerPlace(at(file), Use::serve).name(), at(file));
  }
}

TEST_F(Place, WhatIsNoPlaceIsRefusedWithWhatHelps) {
  std::ofstream(at("file")) << "x";
  fs::create_symlink(at("circle"), at("circle"));
  EXPECT_THAT(refusal(at("")), AllOf(HasSubstr("names a directory"), HasSubstr(at("") + "video.sock")));
  EXPECT_THAT(refusal(at("..")), AllOf(HasSubstr("names a directory"), HasSubstr(at("..") + "/video.sock")));
  EXPECT_THAT(refusal(at("none/s")), AllOf(HasSubstr("there is no directory " + at("none")), HasSubstr("make it")));
  EXPECT_THAT(refusal(at("file/s")), HasSubstr("is a regular file"));
  EXPECT_THAT(refusal(at("file/x/s")), HasSubstr("is no directory"));
  EXPECT_THAT(refusal(at("circle/s")), HasSubstr("lead in a circle"));
  EXPECT_THAT(refusal(at(std::string(300, 'x') + "/s")), HasSubstr("too long"));
  EXPECT_THAT(refusal("a b"), HasSubstr("broker name 'a b'"));
}

TEST_F(Place, APathThatFitsNoAddressIsRefusedToServeAndReachedToLook) {
  const std::string deep = at(std::string(100, 'd'));
  fs::create_directory(deep);
  EXPECT_THAT(refusal(deep + "/s"), AllOf(HasSubstr("107 are possible"), HasSubstr("give the broker a shorter one")));
  const BrokerPlace place(deep + "/s", Use::look);
  EXPECT_EQ(place.socket_path(), deep + "/s");
  EXPECT_LT(place.address().size(), sizeof(sockaddr_un::sun_path));
  std::ofstream(deep + "/s") << "x";
  EXPECT_TRUE(fs::exists(place.address()));
  fs::current_path(deep);
  EXPECT_EQ(BrokerPlace("./s", Use::serve).address(), "./s");
  fs::current_path("/");
}

TEST_F(Place, WhatLiesInItIsLookedAtAndNotWhatLinksLeadTo) {
  const BrokerPlace place(at("s"), Use::serve);
  EXPECT_FALSE(place.status_of("s"));
  fs::create_symlink(at("nowhere"), at("s"));
  ASSERT_TRUE(place.status_of("s"));
  EXPECT_STREQ(kind_of(*place.status_of("s")), "a symbolic link");
  std::ofstream(at("f")) << "x";
  EXPECT_EQ(describe("it", *place.status_of("f")), "it is a regular file of user " + std::to_string(::geteuid()));
  EXPECT_THROW((void)place.status_of(std::string(300, 'x')), SystemError);
}

TEST_F(Place, OneThatOthersMayWriteIsClosedForANameAlone) {
  fs::create_directory(at("ipcq"));
  fs::permissions(at("ipcq"), fs::perms::all);
  EXPECT_EQ(BrokerPlace(at("ipcq/video.sock"), Use::serve).closed(), "");
  EXPECT_EQ(BrokerPlace("video", Use::look).closed(), "");
  EXPECT_EQ(fs::status(at("ipcq")).permissions(), fs::perms::all);
  const BrokerPlace place("video", Use::serve);
  EXPECT_THAT(place.closed(), AllOf(HasSubstr(at("ipcq")), HasSubstr("mode 0777")));
  EXPECT_EQ(place.directory_status().st_mode & 07777, 0755u);
  EXPECT_EQ(BrokerPlace("video", Use::serve).closed(), "");
}

TEST(NameIn, IsThatOfASocketInThatDirectory) {
  EXPECT_EQ(name_in("/run/ipcq", "/run/ipcq/video.sock"), "video");
  for (const char* const other : {"/run/ipcq/video", "/run/video.sock", "/run/ipcq/x/video.sock", "/run/ipcq/.sock",
                                  "/run/ipcq/.x.sock", "/run/ipcq/a+b.sock"}) {
    EXPECT_EQ(name_in("/run/ipcq", other), "") << other;
  }
  EXPECT_EQ(name_in("", "/run/ipcq/video.sock"), "");
}

// Every build must come to the same: brokers find what others left by it.
TEST(Tag, IsAReadablePartAndTheHashOfThePath) {
  EXPECT_EQ(tag_of("/run/ipcq/video.sock"), "video+0bad4cc80f697cf9");
  std::set<std::string> tags;
  for (const char* const path : {"/a/s", "/b/s", "/a/s.sock", "/a/ s", "/a/+s", "/a/.s"}) tags.insert(tag_of(path));
  EXPECT_EQ(tags.size(), 6u);
  EXPECT_EQ(tag_of("/a/.x y+z").substr(0, 7), "_x_y_z+");
  EXPECT_EQ(tag_of("/" + std::string(200, 'q')).size(), 63u + 17u);
}

TEST(SegmentName, IsOfThisUsersBrokersWhenEveryPartIsAsTheyWriteIt) {
  const std::string user = user_prefix();
  EXPECT_EQ(user, "ipcq+" + std::to_string(::geteuid()) + "+");
  const std::string tag = tag_of("/run/ipcq/video.sock");
  for (const char* const rest : {"+queue+cam+1f", "+pool+cam+0", "+queue+a.b-c+ffffffffffffffff"}) {
    const auto parts = parts_of(user + tag + rest);
    ASSERT_TRUE(parts) << rest;
    EXPECT_EQ(parts->tag, tag);
  }
  const auto record = parts_of(user + tag + "+broker+1f");
  ASSERT_TRUE(record);
  EXPECT_EQ(record->kind, kRecordKind);
  EXPECT_EQ(parts_of(user + tag + "+pool+cam+0")->kind, kPoolKind);
  for (const char* const rest :
       {"", "+", "+queue", "+queue+cam", "+queue+cam+", "+queue+cam+1G", "+queue+cam+1F", "+queue+-cam+1",
        "+queue+cam+1+1", "+queue+cam+12345678901234567", "+broker", "+broker+x", "+broker+1+1", "+other+cam+1"}) {
    EXPECT_FALSE(parts_of(user + tag + rest)) << rest;
  }
  EXPECT_FALSE(parts_of("ipcq+1x+" + tag + "+queue+cam+1"));
  EXPECT_FALSE(parts_of(user + "video+0bad4cc80f697cf+queue+cam+1"));
  EXPECT_FALSE(parts_of(user + "-video+0bad4cc80f697cf9+queue+cam+1"));
}

}  // namespace
}  // namespace ipcq::detail
