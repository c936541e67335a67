// Named steps of the protocol. In test builds (IPCQ_TEST_HOOKS) a test stops or kills the process at one of them:
// IPCQ_STEP=name:action[:count] in the environment, action kill, stop or exit, at the count-th time (default 1), or
// set_step_hook(). In other builds a step is nothing.
#pragma once

#if defined(IPCQ_TEST_HOOKS)
namespace ipcq::detail {
void reach_step(const char* name) noexcept;
// Called with every step's name, from any thread. Null: none.
void set_step_hook(void (*hook)(const char* name)) noexcept;
}  // namespace ipcq::detail
#define IPCQ_STEP(name) ::ipcq::detail::reach_step(name)
#else
#define IPCQ_STEP(name) ((void)0)
#endif
