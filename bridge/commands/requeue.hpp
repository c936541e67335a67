// ipcq-redis requeue: puts dead letters of a stream back into it.
#pragma once

namespace ipcq::bridge {

int requeue_command(int argc, char** argv);

}  // namespace ipcq::bridge
