"""Certificates, membership, paths and routes of a mesh; sans-IO."""
