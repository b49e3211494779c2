"""The asyncio SDK for clients of the RingMe hosted PBX: read them and change them, in bulk too."""
