# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pictures in one HTML file: the page (assets/, plain JavaScript modules) and the data that it draws."""
