"""Parts of :mod:`pylog_struct.web.django`."""
