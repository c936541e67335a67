// Crash points: named places in the code at which a test stops or kills the process. In test builds (IPCQ_TEST_HOOKS)
// IPCQ_CRASH_POINT=name:action[:count] in the environment names one, the action (kill, stop or exit), and at which pass
// it is taken (default: the first); set_crash_point_hook() calls a function at all of them. Other builds compile a
// crash point to nothing. Thread-safe.
#pragma once

#if defined(IPCQ_TEST_HOOKS)
namespace ipcq::detail {
void reach_crash_point(const char* name) noexcept;
// Called with the name of each crash point that is reached, from any thread. Null: none.
void set_crash_point_hook(void (*hook)(const char* name)) noexcept;
}  // namespace ipcq::detail
#define IPCQ_CRASH_POINT(name) ::ipcq::detail::reach_crash_point(name)
#else
#define IPCQ_CRASH_POINT(name) ((void)0)
#endif
