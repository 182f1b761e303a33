// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The end of the program: after main returns, detached tasks are finished, up to a limit; what is left then is said.
// Nothing is torn down: workers sleep on until the process is gone, so no static destructor joins a thread.
#pragma once

namespace errand::detail {

/// Makes the program's normal end wait for detached tasks. Once, by the first pool.
void drain_at_exit();

}  // namespace errand::detail
