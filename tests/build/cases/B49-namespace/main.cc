/* SPDX-License-Identifier: Apache-2.0 */
extern "C" {
#include "probe.h"
}

namespace store {
class item {
public:
	int kind;
	virtual int weight() { return kind; }
	long after;
};
}

static store::item item;

void probe(const char *input)
{
	(void)input;
	printf("%d %ld\n", item.kind, item.after);
}
