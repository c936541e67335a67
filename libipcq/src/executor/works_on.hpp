// On which queue the current thread works: for a process that dies of a handler and wants to say of whose.
//
// Thread-local; may be read by a signal handler of the thread.
#pragma once

namespace ipcq::detail {

// The name of the queue's segment; null: on none.
inline thread_local const char* works_on_queue = nullptr;

class WorksOn {
 public:
  // `segment` must outlive this object.
  explicit WorksOn(const char* segment) noexcept : before_(works_on_queue) { works_on_queue = segment; }
  ~WorksOn() { works_on_queue = before_; }
  WorksOn(const WorksOn&) = delete;
  WorksOn& operator=(const WorksOn&) = delete;

 private:
  const char* before_;
};

}  // namespace ipcq::detail
