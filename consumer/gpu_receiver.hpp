// GpuReceiver: like Receiver, but a kernel checks each message, and the message is released behind it in the order of
// one stream. Until the run ends the CPU waits for publications only, never for the GPU. For the device's thread.
#pragma once

#include <ipcq/consumer.hpp>
#include <optional>
#include <string>

#include "program/progress.hpp"
#include "program/sequence_check.hpp"
#include "program_gpu/completion_timer.hpp"
#include "program_gpu/frame_checker.hpp"
#include "run.hpp"

namespace ipcq::program {

class GpuReceiver {
 public:
  // handler: the queue's handler, for the expected pictures; none if they are not checked.
  GpuReceiver(Consumer& consumer, const GpuDevice& device, Limits limits, SequenceCheck& sequences,
              const std::optional<std::string>& handler, Progress& progress, Tally& tally);

  Ending run();

 private:
  Ending receive_all();
  void take(const cuda::Message& message);
  void check_samples();
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
