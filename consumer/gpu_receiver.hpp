// GpuReceiver: as Receiver, but each message is checked by a kernel and released behind it, in the order of one stream.
// The CPU waits for publications, never for the GPU, until the run ends.
#pragma once

#include <ipcq/consumer.hpp>
#include <optional>
#include <string>

#include "common/progress.hpp"
#include "common/sequence_check.hpp"
#include "gpu/completion_timer.hpp"
#include "gpu/frame_checker.hpp"
#include "run.hpp"

namespace ipcq::program {

class GpuReceiver {
 public:
  // handler: what the queue does to the pictures; nothing when they are not to be checked.
  GpuReceiver(Consumer& consumer, const GpuDevice& device, Limits limits, SequenceCheck& sequences,
              const std::optional<std::string>& handler, Progress& progress, Tally& tally);

  Ending run();

 private:
  Ending receive_all();
  void take(const cuda::Message& message);
  void look_at_samples();
  void add_up();

  Consumer& consumer_;
  const GpuDevice& device_;
  Limits limits_;
  SequenceCheck& sequences_;
  std::optional<FrameChecker> checker_;
  CompletionTimer timer_;
  Progress& progress_;
  Tally& tally_;
  bool complained_ = false;
};

}  // namespace ipcq::program
