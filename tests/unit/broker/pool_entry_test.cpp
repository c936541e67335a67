// The device memory of a pool, asked of a runner that is a script.
#include "broker/pool_entry.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "broker/scripted_runner.hpp"
#include "errors.hpp"
#include "eventually.hpp"
#include "ipcq/error.hpp"
#include "layout/text_field.hpp"
#include "unit/child.hpp"

namespace ipcq::detail {
namespace {

using ipcq_test::Child;
using ipcq_test::error_of;
using ipcq_test::eventually;

constexpr int kGpu = 40;

class PoolEntryTest : public ipcq_test::ScriptedRunner, public testing::Test {
 protected:
  PoolEntryTest() {
    RunnerReply yes;
    yes.id = 12;
    yes.memory.bytes = 4096;
    write("reply", &yes, sizeof yes);
    // Keeps each request in a file: heard1, heard2.
    script("say hello; n=0; while hear request; do n=$((n+1)); cp request heard$n; say reply; done");
    runner_ = RunnerLink::get(kGpu, -1);
  }
  // The n-th request, from 1; none if the runner was not asked so often.
  std::unique_ptr<RunnerRequest> heard(int n) const {
    const std::string bytes = read("heard" + std::to_string(n));
    auto r = std::make_unique<RunnerRequest>();
    if (bytes.size() != sizeof *r) return nullptr;
    bytes.copy(reinterpret_cast<char*>(r.get()), sizeof *r);
    return r;
  }

  std::shared_ptr<RunnerLink> runner_;
};

TEST_F(PoolEntryTest, TheRunnerAllocatesAndFreesTheMemoryOnce) {
  {
    PoolEntry pool;
    EXPECT_EQ(pool.allocate(runner_, 4096).bytes, 4096u);
    EXPECT_EQ(pool.block, 12u);
    EXPECT_EQ(pool.runner, runner_);
    EXPECT_FALSE(is_lost(pool));
    const auto asked = heard(1);
    ASSERT_TRUE(asked);
    EXPECT_EQ(asked->op, RunnerOp::allocate);
    EXPECT_EQ(asked->bytes, 4096u);
    EXPECT_FALSE(heard(2));
  }
  const auto asked = heard(2);
  ASSERT_TRUE(asked);
  EXPECT_EQ(asked->op, RunnerOp::free);
  EXPECT_EQ(asked->id, 12u);
  EXPECT_FALSE(heard(3));
}

TEST_F(PoolEntryTest, WhatWasNotAllocatedIsNotFreed) {
  RunnerReply no;
  no.failed = 1;
  set_text(no.text, sizeof no.text, "no memory left");
  write("reply", &no, sizeof no);
  {
    PoolEntry pool;
    EXPECT_EQ(error_of<BackendError>([&] { (void)pool.allocate(runner_, 1); }), "no memory left");
    EXPECT_EQ(pool.runner, nullptr);
    EXPECT_FALSE(is_lost(pool)) << "it has none";
  }
  EXPECT_TRUE(heard(1));
  EXPECT_FALSE(heard(2));
}

TEST_F(PoolEntryTest, EndsWithoutAnErrorWhenItsRunnerIsGone) {
  auto pool = std::make_unique<PoolEntry>();
  (void)pool->allocate(runner_, 4096);
  runner_->kill();
  ASSERT_TRUE(eventually([&] { return runner_->is_lost(); }));
  EXPECT_TRUE(is_lost(*pool));
  EXPECT_NO_THROW(pool.reset());
}

TEST_F(PoolEntryTest, AForkedChildFreesNothing) {
  auto pool = std::make_unique<PoolEntry>();
  (void)pool->allocate(runner_, 4096);
  Child child([&] { pool.reset(); });
  EXPECT_EQ(child.exit_code(), 0);
  EXPECT_FALSE(heard(2));
  pool.reset();
  EXPECT_TRUE(heard(2));
}

}  // namespace
}  // namespace ipcq::detail
