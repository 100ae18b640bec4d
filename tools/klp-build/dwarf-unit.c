/* SPDX-License-Identifier: Apache-2.0 */
/* The units of a file's debug information, and the simplest questions to an entry. */
#include "klp-build.h"
#include "dwarf-unit.h"
#include "dwarf-object.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

char *kb_dwarf_name(Dwarf_Debug dbg, Dwarf_Die die)
{
	Dwarf_Error error = NULL;
	char *name = NULL;

	if (dwarf_diename(die, &name, &error) != DW_DLV_OK)
		name = NULL;
	dwarf_dealloc_error(dbg, error);
	return name;
}

Dwarf_Die kb_dwarf_next(Dwarf_Debug dbg, Dwarf_Die die, bool child)
{
	Dwarf_Error error = NULL;
	Dwarf_Die next = NULL;
	int rc = child ? dwarf_child(die, &next, &error) : dwarf_siblingof_b(dbg, die, 1, &next, &error);

	dwarf_dealloc_error(dbg, error);
	return rc == DW_DLV_OK ? next : NULL;
}

Dwarf_Half kb_dwarf_tag(Dwarf_Die die)
{
	Dwarf_Error error = NULL;
	Dwarf_Half tag = 0;

	return dwarf_tag(die, &tag, &error) == DW_DLV_OK ? tag : 0;
}

char *kb_dwarf_string(Dwarf_Debug dbg, Dwarf_Die die, Dwarf_Half attribute)
{
	Dwarf_Error error = NULL;
	Dwarf_Attribute attr = NULL;
	char *text = NULL, *copy = NULL;

	if (dwarf_attr(die, attribute, &attr, &error) == DW_DLV_OK) {
		if (dwarf_formstring(attr, &text, &error) == DW_DLV_OK && text)
			copy = kb_format("%s", text);
		dwarf_dealloc_attribute(attr);
	}
	dwarf_dealloc_error(dbg, error);
	return copy;
}

/* Debian 12's libdwarf is from before its version 0.1, where these calls lost some parameters. */
static Dwarf_Debug kb_open_dwarf(int fd)
{
	Dwarf_Error error = NULL;
	Dwarf_Debug dbg = NULL;
#ifdef DW_LIBDWARF_VERSION
	int rc = dwarf_init_b(fd, DW_GROUPNUMBER_ANY, NULL, NULL, &dbg, &error);
#else
	int rc = dwarf_init(fd, DW_DLC_READ, NULL, NULL, &dbg, &error);
#endif

	if (rc == DW_DLV_OK)
		return dbg;
	dwarf_dealloc_error(NULL, error);
	return NULL;
}

static void kb_close_dwarf(Dwarf_Debug dbg)
{
#ifdef DW_LIBDWARF_VERSION
	dwarf_finish(dbg);
#else
	dwarf_finish(dbg, NULL);
#endif
}

void kb_dwarf_each_unit(const char *path, void (*fn)(void *ctx, Dwarf_Debug dbg, Dwarf_Die cu), void *ctx)
{
	Dwarf_Unsigned length, type_offset, next_offset;
	Dwarf_Half version, address, offset_size, extension, kind;
	Dwarf_Off abbrev;
	Dwarf_Sig8 signature;
	Dwarf_Error error = NULL;
	int fd = kb_open_relocated(path), alt_fd = -1;
	Dwarf_Debug dbg, alt = NULL;
	char *alt_path;

	if (fd < 0)
		fd = open(path, O_RDONLY | O_CLOEXEC);
	dbg = fd >= 0 ? kb_open_dwarf(fd) : NULL;
	if (!dbg)
		goto out;
	alt_path = kb_debug_alt(path);
	alt_fd = alt_path ? open(alt_path, O_RDONLY | O_CLOEXEC) : -1;
	alt = alt_fd >= 0 ? kb_open_dwarf(alt_fd) : NULL;
	free(alt_path);
	if (alt && dwarf_set_tied_dbg(dbg, alt, &error) != DW_DLV_OK) {
		dwarf_dealloc_error(dbg, error);
		error = NULL;
	}
	while (dwarf_next_cu_header_d(dbg, 1, &length, &version, &abbrev, &address, &offset_size, &extension,
				      &signature, &type_offset, &next_offset, &kind, &error) == DW_DLV_OK) {
		Dwarf_Die cu = kb_dwarf_next(dbg, NULL, false);

		if (cu) {
			fn(ctx, dbg, cu);
			dwarf_dealloc_die(cu);
		}
	}
	dwarf_dealloc_error(dbg, error);
	error = NULL;
	if (alt && dwarf_set_tied_dbg(dbg, NULL, &error) != DW_DLV_OK)
		dwarf_dealloc_error(dbg, error);
	kb_close_dwarf(dbg);
	if (alt)
		kb_close_dwarf(alt);
out:
	if (alt_fd >= 0)
		close(alt_fd);
	if (fd >= 0)
		close(fd);
}

bool kb_dwarf_number(Dwarf_Debug dbg, Dwarf_Die die, Dwarf_Half at, long long *out)
{
	Dwarf_Error error = NULL;
	Dwarf_Attribute attr = NULL;
	Dwarf_Unsigned u;
	Dwarf_Signed s;
	bool ok = true;

	if (dwarf_attr(die, at, &attr, &error) != DW_DLV_OK) {
		dwarf_dealloc_error(dbg, error);
		return false;
	}
	if (dwarf_formudata(attr, &u, &error) == DW_DLV_OK) {
		*out = (long long)u;
	} else {
		dwarf_dealloc_error(dbg, error);
		error = NULL;
		ok = dwarf_formsdata(attr, &s, &error) == DW_DLV_OK;
		if (ok)
			*out = s;
		dwarf_dealloc_error(dbg, error);
	}
	dwarf_dealloc_attribute(attr);
	return ok;
}

Dwarf_Die kb_dwarf_entry(Dwarf_Debug dbg, Dwarf_Die die, Dwarf_Half attribute)
{
	Dwarf_Error error = NULL;
	Dwarf_Attribute attr = NULL;
	Dwarf_Die entry = NULL;
	Dwarf_Off off;

	if (dwarf_attr(die, attribute, &attr, &error) == DW_DLV_OK) {
		if (dwarf_global_formref(attr, &off, &error) != DW_DLV_OK ||
		    dwarf_offdie_b(dbg, off, 1, &entry, &error) != DW_DLV_OK)
			entry = NULL;
		dwarf_dealloc_attribute(attr);
	}
	dwarf_dealloc_error(dbg, error);
	return entry;
}
