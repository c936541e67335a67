// Everything a client or an embedding broker needs.
#pragma once

#include "ipcq/admin.hpp"
#include "ipcq/broker.hpp"
#include "ipcq/builtin_handlers.hpp"
#include "ipcq/consumer.hpp"
#include "ipcq/error.hpp"
#include "ipcq/handler.hpp"
#include "ipcq/log.hpp"
#include "ipcq/message.hpp"
#include "ipcq/options.hpp"
#include "ipcq/producer.hpp"
#include "ipcq/records.hpp"
#include "ipcq/session.hpp"
#include "ipcq/stats.hpp"
#include "ipcq/status.hpp"
#include "ipcq/version.hpp"
#include "ipcq/wait.hpp"
